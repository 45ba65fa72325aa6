"""Releases to the Hugging Face Hub: the real client against a fake Hub on loopback."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import yaml

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import Problem
from llm_trace_archive.lock.card import front_matter
from llm_trace_archive.release.bundle.folder import Bundle
from llm_trace_archive.release.bundle.pack import pack
from llm_trace_archive.release.gate import check as gate
from llm_trace_archive.release.hub import release as hub_release
from llm_trace_archive.upstream.http import Patience
from support.bundles import summed, tiny_bundle
from support.chance import SEED, seeds
from support.command import run_here
from support.fake_hub import ATTRIBUTES, ORGANISATION, OUTSIDER, READER, WRITER, FakeHub, Repo, fake_hub
from support.fake_hub_card import judge_card
from support.fake_hub_server import Fault, Handler
from support.golden import assert_golden
from support.hub_runs import (
    NAME,
    client_of,
    environment,
    publish,
    release_quickly,
    send,
    send_by_process,
    start_quickly,
)
from support.programs import ROOT
from support.releases import Release

QUICK = Patience(tries=2, first_pause=0.001, longest_pause=0.01)
WRITING = {"create_repo", "put", "put_part", "complete", "commit", "tag"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    with fake_hub(tmp_path / "hub") as hub:
        yield hub


def contents(hub: FakeHub, repo: Repo, revision: str) -> dict[str, bytes]:
    """The files at a tag, branch or commit, byte for byte."""
    tree = repo.commits[repo.tags.get(revision, repo.branches.get(revision, revision))].tree
    return {
        path: (hub.folder / entry.sha256).read_bytes() if entry.sha256 else hub.blobs[entry.oid]
        for path, entry in tree.items()
    }


def assert_released(hub: FakeHub, repo: Repo, *bundles: Bundle) -> None:
    """One commit and one tag per bundle, in this order, with exactly its files."""
    expected = [f"Release {each.version}" for each in reversed(bundles)]
    assert [each.title for each in repo.history()] == [*expected, "initial commit"]
    oids = [each.oid for each in repo.history()][: len(bundles)]
    assert repo.tags == {each.version: oid for each, oid in zip(reversed(bundles), oids, strict=True)}
    for each in bundles:
        files = {file.path: (each.root / file.path).read_bytes() for file in each.files}
        assert contents(hub, repo, each.version) == files | {".gitattributes": ATTRIBUTES}
    assert not repo.pulls


def test_a_release_is_one_commit_and_a_tag_with_exactly_the_bundles_files(hub: FakeHub, tmp_path: Path) -> None:
    hub.chunk = 4000  # the larger table goes in parts
    bundle = tiny_bundle(tmp_path / "bundle")
    ran = send_by_process(hub, bundle)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert_released(hub, hub.repos[NAME], bundle)
    assert not hub.repos[NAME].private
    assert {"put", "put_part", "complete"} < set(hub.requests)
    assert sum(hub.sent.values()) == sum(each.bytes for each in bundle.files)
    assert f"{hub.url}/datasets/{NAME}/tree/1.0.0" in ran.stdout.splitlines()
    assert WRITER not in ran.stdout

    assert "nothing to do" in publish(hub, bundle)
    assert not WRITING & set(hub.requests)
    assert_released(hub, hub.repos[NAME], bundle)


def test_a_release_inside_its_archive_is_recorded(
    bundle: Bundle, archive_copy: Release, hub: FakeHub, tmp_path: Path
) -> None:
    with client_of(hub):
        arguments = ("release", "huggingface", bundle.root, "--repo", NAME)
        inside = run_here(*arguments, cwd=archive_copy.root)
        outside = run_here(*arguments, cwd=tmp_path)
    recorded = "datapackage.json: now names the release at huggingface; review and commit it\n"
    assert (inside.returncode, outside.returncode) == (0, 0), inside.stderr + outside.stderr
    assert inside.stdout.endswith(recorded)
    assert [each["place"] for each in Archive(archive_copy.root).lock["releases"]] == [NAME]
    assert "not recorded: the current directory is not in the archive of version" in outside.stdout


def test_the_next_release_sends_what_changed_and_deletes_what_is_gone(hub: FakeHub, tmp_path: Path) -> None:
    first = tiny_bundle(tmp_path / "1", "1.0.0", few=3, many=5000, gone=10)
    publish(hub, first)
    second = tiny_bundle(tmp_path / "2", "1.1.0", few=4, many=5000)
    out = publish(hub, second)
    assert_released(hub, hub.repos[NAME], first, second)
    changed = {"data/demo/few.parquet", "datapackage.json", "CITATION.cff", "README.md", "SHA256SUMS"}
    changed |= {"recipes/demo.toml", "release-report.json"}
    sizes = {each.path: each.bytes for each in second.files}
    assert hub.sent["lfs"] == sizes["data/demo/few.parquet"]
    assert sum(hub.sent.values()) == sum(sizes[path] for path in changed)
    assert "7 files to send" in out
    assert "1 to delete, 5 unchanged" in out
    # The earlier one is still there, and releasing it again does not restore it on main.
    assert "nothing to do" in publish(hub, first)
    assert_released(hub, hub.repos[NAME], first, second)


def test_a_pull_request_gets_no_tag_until_it_is_merged(hub: FakeHub, tmp_path: Path) -> None:
    first, second = tiny_bundle(tmp_path / "1"), tiny_bundle(tmp_path / "2", "1.1.0", few=3, many=6000)
    publish(hub, first)
    repo = hub.repos[NAME]
    out = publish(hub, second, "--pr", token=OUTSIDER)  # who may not write to main
    assert f"{hub.url}/datasets/{NAME}/discussions/1" in out.splitlines()
    assert "waits to be merged" in out
    assert (repo.titles, list(repo.tags)) == ({"refs/pr/1": "Release 1.1.0"}, ["1.0.0"])
    assert contents(hub, repo, repo.pulls["refs/pr/1"]).keys() == {each.path for each in second.files} | {
        ".gitattributes"
    }

    publish(hub, second, "--pr")
    assert not WRITING & set(hub.requests)
    (second.root / "NOTICE").write_text("More.\n")  # the same release, corrected: the same pull request
    second = summed(second.root)
    publish(hub, second, "--pr")
    assert list(repo.pulls) == ["refs/pr/1"]
    assert contents(hub, repo, repo.pulls["refs/pr/1"])["NOTICE"] == b"More.\n"

    repo.merge("refs/pr/1")
    assert "is merged" in publish(hub, second, "--pr")
    assert not WRITING & set(hub.requests)
    publish(hub, second)
    assert WRITING & set(hub.requests) == {"tag"}
    repo.pulls.clear()
    assert_released(hub, repo, first, second)


def test_a_private_repo_is_created_and_is_visible_only_with_the_token(hub: FakeHub, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    assert "created the private dataset repo" in publish(hub, bundle, "--private")
    assert hub.repos[NAME].private
    publish(hub, bundle)
    assert hub.repos[NAME].private
    ran = send(hub, bundle, token=OUTSIDER)
    assert ran.returncode == 2
    assert_golden("hub/private-repo-not-visible", ran.stderr)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500])
@pytest.mark.parametrize("route", ["whoami", "repo_info", "preupload", "commit", "tag"])
def test_a_token_that_the_hub_repeats_is_masked(
    hub: FakeHub, tmp_path: Path, route: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client waits for a minute in all between its own tries of an upload.
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda _: None))
    token = "hf_writer_" + "aB3" * 12
    hub.tokens[token] = WRITER
    hub.faults = [Fault(1, f"echo {status}", route, lasts=True)]
    bundle = tiny_bundle(tmp_path / "bundle", few=3)
    with client_of(hub, token), pytest.raises(Problem) as caught:
        hub_release.release(bundle, NAME, say=(said := []).append, patience=Patience(tries=2, first_pause=0.001))
    assert "aB3" not in f"{said} {caught.value}"


@pytest.mark.parametrize("shape", ["null", "[{}]", '{"id": 1, "sha": []}'])
def test_an_answer_of_another_shape_is_a_message(hub: FakeHub, tmp_path: Path, shape: str) -> None:
    bundle = tiny_bundle(tmp_path / "bundle", few=3)
    for route in ("whoami", "repo_info", "create_repo", "refs", "revision_info", "tree", "preupload", "lfs_batch",
                  "commit", "tag", "discussions"):  # fmt: skip
        hub.faults = [Fault(1, f"json {shape}", route, lasts=True)]
        with client_of(hub), contextlib.suppress(Problem):
            hub_release.release(bundle, NAME, pull=route == "discussions", patience=QUICK)


def release_and_change_bundle(hub: FakeHub, bundle: Bundle) -> None:
    (bundle.root / "OLD.txt").write_text("Old.\n")
    publish(hub, summed(bundle.root))
    (bundle.root / "README.md").write_text("---\nlicense: mit\n---\n# Other\n")
    (bundle.root / "OLD.txt").unlink()
    (bundle.root / "NEW.txt").write_text("New.\n")
    summed(bundle.root)


def replace_by_foreign_files(hub: FakeHub, bundle: Bundle) -> None:
    publish(hub, bundle)
    repo = hub.repos[NAME]
    tree = {".gitattributes": hub.keep(ATTRIBUTES), "mine.csv": hub.keep(b"a,b\n")}
    repo.tags = {}
    repo.branches["main"] = repo.add("", "My work", tree)


CASES = {
    "no-token": (None, {"token": ""}, ()),
    "wrong-token": (None, {"token": "hf_nobody"}, ()),
    "read-only-token": (None, {"token": READER}, ()),
    "foreign-organisation": (None, {"repo": "others/traces"}, ()),
    "invalid-name": (None, {"repo": "demo--org/traces"}, ()),
    "pull-request-without-repo": (None, {}, ("--pr",)),
    "repo-is-public": (publish, {}, ("--private",)),
    "tag-with-different-files": (release_and_change_bundle, {}, ()),
    "foreign-files": (replace_by_foreign_files, {}, ()),
}


@pytest.mark.parametrize("name", CASES)
def test_wrong_use_is_reported_and_writes_nothing(name: str, hub: FakeHub, tmp_path: Path) -> None:
    prepare, settings, options = CASES[name]
    bundle = tiny_bundle(tmp_path / "bundle")
    if prepare:
        prepare(hub, bundle)
    ran = send(hub, bundle, *options, **settings)
    assert ran.returncode == (1 if name == "tag-with-different-files" else 2)
    assert not WRITING & set(hub.requests) - ({"create_repo"} if name == "foreign-organisation" else set())
    assert settings.get("token", "?") not in ran.stderr or not settings["token"]
    assert_golden(f"hub/{name}", ran.stderr, bundle=bundle.root)


@pytest.mark.parametrize(
    ("name", "setting"),
    {"offline": {"HF_HUB_OFFLINE": "1"}, "not-https": {"HF_ENDPOINT": "http://hub.example.org"}}.items(),
)
def test_settings_of_the_client_are_respected(name: str, setting: dict[str, str], hub: FakeHub, tmp_path: Path) -> None:
    ran = send_by_process(hub, tiny_bundle(tmp_path / "bundle"), **setting)
    assert ran.returncode == 2
    assert not hub.requests
    assert_golden(f"hub/{name}", ran.stderr)


def test_a_bundle_with_a_missing_file_is_refused_before_the_hub_is_asked(hub: FakeHub, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    (bundle.root / "data/demo/many.parquet").unlink()
    ran = send(hub, bundle)
    assert ran.returncode == 1
    assert "data/demo/many.parquet: missing" in ran.stderr
    assert not hub.requests


def test_names_that_only_the_hub_may_use_are_refused(hub: FakeHub, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    (bundle.root / ".cache").mkdir()
    (bundle.root / ".cache" / "x").write_text("x")
    ran = send(hub, summed(bundle.root))
    assert ran.returncode == 1
    assert_golden("hub/refused-file-name", ran.stderr)
    (bundle.root / ".gitattributes").write_text("x")
    ran = send(hub, summed(bundle.root))
    assert ran.returncode == 2
    assert not hub.requests
    assert_golden("hub/gitattributes", ran.stderr, bundle=bundle.root)


def test_a_card_that_the_hub_rejects_is_reported(hub: FakeHub, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    (bundle.root / "README.md").write_text("---\n- a\n---\n")
    ran = send(hub, summed(bundle.root))
    assert ran.returncode == 1
    assert_golden("hub/invalid-card", ran.stderr)
    assert not hub.repos[NAME].tags


@pytest.mark.parametrize(
    ("front", "found"),
    [
        ("license: not-a-licence", "license"),
        ("license: [mit, CC-BY-4.0]", "CC-BY-4.0"),
        ("license: other", "license_name"),
        ("configs: nonsense", "configs"),
        ("configs: [{config_name: 'a/b', data_files: x.csv}]", "config_name"),
        ("configs: [{config_name: a}, {config_name: a}]", "twice"),
        ("configs: [{config_name: a, data_files: [{split: a-b, path: x.csv}]}]", "split"),
        ("configs: [{config_name: a, data_files: [{split: a}]}]", "path"),
        ("size_categories: [many]", "size_categories"),
        ("task_categories: [guessing]", "task_categories"),
        ("language: English", "language"),
        ("pretty_name: [a]", "pretty_name"),
        ("a: [", "YAML"),
        ("- a", "mapping"),
    ],
)
def test_the_fake_hub_is_as_strict_as_the_documented_one(front: str, found: str) -> None:
    assert any(found in error for error in judge_card(f"---\n{front}\n---\n# Text\n"))


def test_the_cards_of_the_repository_and_of_a_bundle_are_valid(bundle: Bundle) -> None:
    for root in (ROOT, bundle.root):
        text = (root / "README.md").read_text()
        assert judge_card(text) == []
        card = yaml.safe_load(text.split("---\n")[1])
        assert card["license"] == ["apache-2.0", "cc-by-4.0", "mit"], "those of the data, and no stand-in"
        assert {"language", "pretty_name", "size_categories", "task_categories"} < card.keys()
        assert (root / card["license_link"]).is_file()
    assert (card["license_link"], card["size_categories"]) == ("NOTICE", ["1K<n<10K"])


@pytest.mark.parametrize(
    ("rows", "size"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (44_107_694, "10M<n<100M"), (10**12 - 1, "100B<n<1T"),
     (10**12, "n>1T")],
)  # fmt: skip
def test_the_card_of_other_sizes_and_licences(archive: Archive, rows: int, size: str) -> None:
    licences = [{"name": "MIT AND CC-BY-NC-4.0"}, {"name": "LicenseRef-Ours"}, {"name": "MIT"}]
    resource = {"trace": "t", "workload": "w", "table": "request", "path": "data/t/w.parquet", "hash": "sha256:0",
                "licenses": licences, "facts": {"rows": rows}}  # fmt: skip
    text = front_matter(archive, {"title": "T", "licenses": licences, "resources": [resource]}, "NOTICE")
    card = yaml.safe_load(text)
    assert judge_card(f"---\n{text}---\n") == []
    assert (card["license"], card["license_name"]) == (["mit", "cc-by-nc-4.0", "other"], "LicenseRef-Ours")
    assert card["size_categories"] == [size]


def test_a_change_by_someone_else_is_not_overwritten(hub: FakeHub, tmp_path: Path) -> None:
    first = tiny_bundle(tmp_path / "1")
    publish(hub, first)
    repo, commit = hub.repos[NAME], hub.commit

    def commit_first(handler: Handler, name: str, revision: str) -> None:
        if repo.history()[0].title != "By hand":
            tree = repo.history()[0].tree | {"README.md": hub.keep(b"mine")}
            repo.branches["main"] = repo.add(repo.branches["main"], "By hand", tree)
        commit(handler, name, revision)

    hub.commit = commit_first  # type: ignore[method-assign]
    ran = send(hub, tiny_bundle(tmp_path / "2", "1.1.0"))
    assert ran.returncode == 1
    assert_golden("hub/changed-during-release", ran.stderr)
    assert (repo.history()[0].title, list(repo.tags)) == ("By hand", ["1.0.0"])
    assert contents(hub, repo, "main")["README.md"] == b"mine"


@pytest.mark.parametrize("kind", ["lost 500", "lost", "503", "stall"])
def test_a_commit_whose_answer_is_lost_is_made_once(kind: str, hub: FakeHub, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    hub.chunk = 4000
    hub.faults = [Fault(1, kind, route) for route in ("create_repo", "put", "complete", "commit", "tag")]
    lines = release_quickly(hub, bundle, read=0.3)
    assert sum("trying again" in line for line in lines) >= 3  # the client itself repeats uploads
    assert_released(hub, hub.repos[NAME], bundle)


@pytest.mark.parametrize(("kind", "seconds"), [("429", 1), ("limit", 7)])
def test_the_pause_is_as_long_as_the_server_asks(kind: str, seconds: int, hub: FakeHub, tmp_path: Path) -> None:
    hub.faults = [Fault(1, kind, "whoami"), Fault(1, kind, "commit")]
    lines = release_quickly(hub, tiny_bundle(tmp_path / "bundle"))
    assert sum(line.endswith(f"trying again in {seconds} s") for line in lines) == 2


def test_two_at_the_same_time_make_one_release(hub: FakeHub, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    both = [start_quickly(hub, bundle) for _ in range(2)]
    for each in both:
        out, error = each.communicate()
        assert (each.returncode, error) == (0, ""), out
    assert_released(hub, hub.repos[NAME], bundle)


@pytest.mark.parametrize(
    ("name", "faults"),
    {
        "server-keeps-failing": [Fault(1, "lost 500", "commit"), Fault(2, "503", "revision_info", lasts=True)],
        "commit-keeps-failing": [Fault(1, "503", "commit", lasts=True)],
    }.items(),
)
def test_a_server_that_keeps_failing_is_reported(name: str, faults: list[Fault], hub: FakeHub, tmp_path: Path) -> None:
    hub.faults = [replace(each) for each in faults]
    with pytest.raises(Problem) as caught:
        release_quickly(hub, tiny_bundle(tmp_path / "bundle"))
    assert caught.value.exit_code == 1
    assert_golden(f"hub/{name}", str(caught.value))


KINDS = ["429", "limit", "500", "503", "drop", "half", "lost", "lost 500", "kill", "lost kill", "dead", "clock"]


@pytest.mark.faults
def test_one_more_run_completes_a_release_after_a_random_fault(hub: FakeHub, tmp_path: Path) -> None:
    """Releases in a row, each hit at random by a server error or a kill -9, then run once more."""
    count = len(seeds(3))
    chance = random.Random(SEED)
    hub.chunk = 4000
    bundles: list[Bundle] = []
    codes: dict[str, list[int]] = {}
    for number in range(count):
        if number % 10 == 0:  # a new repo, so that faults also hit its creation
            hub.repos.clear()
            bundles = []
            for file in hub.folder.iterdir():
                file.unlink()
        tables = {"few": 3 + number, "many": 5000, f"new{number}": 2000 + number}
        bundle = tiny_bundle(tmp_path / str(number), f"1.{number}.0", **tables)
        # Kinds in turn, so that few faults have many kinds; random moments.
        kind, moment = KINDS[number % len(KINDS)], chance.randint(1, 40)
        hub.faults = [] if kind == "clock" else [Fault(moment, "503" if kind == "dead" else kind, lasts=kind == "dead")]
        process = start_quickly(hub, bundle)
        if kind == "clock":
            time.sleep(chance.uniform(0.15, 0.8))
            process.kill()
        process.communicate()
        hub.faults = []
        codes.setdefault(kind, []).append(process.returncode)
        release_quickly(hub, bundle)
        bundles.append(bundle)
        assert_released(hub, hub.repos[NAME], *bundles)
    print(f"{count} faults; exit codes of the runs that were hit: {codes}")
    assert count < 100 or all(any(hit) for kind, hit in codes.items() if "kill" in kind or kind in ("dead", "clock"))


LOAD = """
import json, sys
import datasets
import yaml
from pathlib import Path
repo, revision, card = sys.argv[1:]
configs = yaml.safe_load(Path(card).read_text().split("---")[1])["configs"]
found = {}
for config in configs:
    name = config["config_name"]
    loaded = datasets.load_dataset(repo, name, revision=revision)
    streamed = datasets.load_dataset(repo, name, revision=revision, streaming=True)
    for split, table in loaded.items():
        rows = table.to_list()
        assert rows == list(streamed[split]), (name, split)
        found[f"{name}/{split}"] = rows
json.dump(found, sys.stdout)
"""


def test_a_bundle_goes_to_the_repo_it_names_and_loads_at_its_version(
    report: gate.Report, hub: FakeHub, tmp_path: Path
) -> None:
    report = replace(report, contents=replace(report.contents, organisation=ORGANISATION))
    bundle = pack(report, tmp_path / "bundle")
    assert bundle
    publish(hub, bundle, repo="")
    assert_released(hub, hub.repos[NAME], bundle)
    named = bundle.package["resources"][0]["urls"]
    assert named[0].partition("/datasets/")[2] == f"{NAME}/resolve/{bundle.version}/data/blocks/chat.parquet"
    assert_loads(hub, bundle)


def assert_loads(hub: FakeHub, bundle: Bundle) -> None:
    """Every config of the card, loaded and streamed at the version without a token, is the local tables."""
    card = bundle.root / "README.md"
    ran = subprocess.run(
        [sys.executable, "-c", LOAD, NAME, bundle.version, card],
        env=environment(hub, token="", HF_DATASETS_DISABLE_PROGRESS_BARS="1", HF_HOME=f"{hub.folder}/cache"),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    loaded = json.loads(ran.stdout)
    for config in yaml.safe_load(card.read_text().split("---")[1])["configs"]:
        for split in config["data_files"]:
            patterns = split["path"] if isinstance(split["path"], list) else [split["path"]]
            paths = [path for pattern in patterns for path in sorted(bundle.root.glob(pattern))]
            rows = [row for path in paths for row in pq.read_table(path, columns=config.get("columns")).to_pylist()]
            assert rows
            assert loaded.pop(f"{config['config_name']}/{split['split']}") == json.loads(json.dumps(rows))
    assert not loaded
