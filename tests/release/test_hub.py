"""Releases to the Hugging Face Hub: the real client, in processes of its own, against a Hub on loopback."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from llm_trace_archive.release.bundle.folder import Bundle
from llm_trace_archive.release.bundle.pack import pack
from llm_trace_archive.release.gate import check as gate
from support.bundles import summed, tiny_bundle
from support.chance import SEED, seeds
from support.fake_hub import ATTRIBUTES, ORGANISATION, OUTSIDER, READER, WRITER, FakeHub, Repo, fake_hub
from support.fake_hub_server import Fault, Handler
from support.golden import assert_golden
from support.hub_runs import NAME, QUICK, environment, released, send
from support.programs import Samples
from support.releases import releasable

WRITING = {"create_repo", "put", "put_part", "complete", "commit", "tag"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    with fake_hub(tmp_path / "hub") as made:
        yield made


def contents(hub: FakeHub, repo: Repo, revision: str) -> dict[str, bytes]:
    """The files at a tag, branch or commit, byte for byte."""
    tree = repo.commits[repo.tags.get(revision, repo.branches.get(revision, revision))].tree
    return {
        path: (hub.folder / entry.sha256).read_bytes() if entry.sha256 else hub.blobs[entry.oid]
        for path, entry in tree.items()
    }


def assert_released(hub: FakeHub, repo: Repo, *bundles: Bundle) -> None:
    """One commit and one tag a bundle, in that order, with exactly its files."""
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
    out = released(hub, bundle)
    assert_released(hub, hub.repos[NAME], bundle)
    assert not hub.repos[NAME].private
    assert {"put", "put_part", "complete"} < set(hub.requests)
    assert sum(hub.sent.values()) == sum(each.bytes for each in bundle.files)
    assert f"{hub.url}/datasets/{NAME}/tree/1.0.0" in out.splitlines()
    assert WRITER not in out

    again = released(hub, bundle)
    assert "nothing to do" in again
    assert not WRITING & set(hub.requests)
    assert_released(hub, hub.repos[NAME], bundle)


def test_the_next_release_sends_what_changed_and_deletes_what_is_gone(hub: FakeHub, tmp_path: Path) -> None:
    first = tiny_bundle(tmp_path / "1", "1.0.0", few=3, many=5000, gone=10)
    released(hub, first)
    second = tiny_bundle(tmp_path / "2", "1.1.0", few=4, many=5000)
    out = released(hub, second)
    assert_released(hub, hub.repos[NAME], first, second)
    changed = {"data/demo/few.parquet", "datapackage.json", "CITATION.cff", "README.md", "SHA256SUMS"}
    sizes = {each.path: each.bytes for each in second.files}
    assert hub.sent["lfs"] == sizes["data/demo/few.parquet"]
    assert sum(hub.sent.values()) == sum(sizes[path] for path in changed)
    assert "5 files to send" in out
    assert "1 to delete, 2 unchanged" in out
    # The older one is still there, and releasing it again does not go back to it.
    assert "nothing to do" in released(hub, first)
    assert_released(hub, hub.repos[NAME], first, second)


def test_a_pull_request_gets_no_tag_until_it_is_merged(hub: FakeHub, tmp_path: Path) -> None:
    first, second = tiny_bundle(tmp_path / "1"), tiny_bundle(tmp_path / "2", "1.1.0", few=3, many=6000)
    released(hub, first)
    repo = hub.repos[NAME]
    out = released(hub, second, "--pr", token=OUTSIDER)  # who may not write to main
    assert f"{hub.url}/datasets/{NAME}/discussions/1" in out.splitlines()
    assert "waits to be merged" in out
    assert (repo.titles, list(repo.tags)) == ({"refs/pr/1": "Release 1.1.0"}, ["1.0.0"])
    assert contents(hub, repo, repo.pulls["refs/pr/1"]).keys() == {each.path for each in second.files} | {
        ".gitattributes"
    }

    released(hub, second, "--pr")
    assert not WRITING & set(hub.requests)
    (second.root / "NOTICE").write_text("More.\n")  # the same release, mended: the same pull request
    second = summed(second.root)
    released(hub, second, "--pr")
    assert list(repo.pulls) == ["refs/pr/1"]
    assert contents(hub, repo, repo.pulls["refs/pr/1"])["NOTICE"] == b"More.\n"

    repo.merge("refs/pr/1")
    assert "is merged" in released(hub, second, "--pr")
    assert not WRITING & set(hub.requests)
    released(hub, second)
    assert WRITING & set(hub.requests) == {"tag"}
    repo.pulls.clear()
    assert_released(hub, repo, first, second)


def test_a_private_repo_is_created_as_one_and_read_with_the_token_alone(hub: FakeHub, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    assert "created the private dataset repo" in released(hub, bundle, "--private")
    assert hub.repos[NAME].private
    released(hub, bundle)
    assert hub.repos[NAME].private
    done = send(hub, bundle, token=OUTSIDER)
    assert done.returncode == 2
    assert_golden("hub/private-unseen", done.stderr)


def changed_tag(hub: FakeHub, bundle: Bundle) -> None:
    released(hub, bundle)
    (bundle.root / "README.md").write_text("---\nlicense: mit\n---\n# Other\n")
    (bundle.root / "LICENSE.txt").unlink()
    (bundle.root / "NOTICE").write_text("New.\n")
    summed(bundle.root)


def foreign(hub: FakeHub, bundle: Bundle) -> None:
    released(hub, bundle)
    repo = hub.repos[NAME]
    tree = {".gitattributes": hub.keep(ATTRIBUTES), "mine.csv": hub.keep(b"a,b\n")}
    repo.tags = {}
    repo.branches["main"] = repo.add("", "My work", tree)


CASES = {
    "no-token": (None, {"token": ""}, ()),
    "wrong-token": (None, {"token": "hf_nobody"}, ()),
    "token-that-reads": (None, {"token": READER}, ()),
    "foreign-organisation": (None, {"repo": "others/traces"}, ()),
    "wrong-name": (None, {"repo": "demo--org/traces"}, ()),
    "offline": (None, {"HF_HUB_OFFLINE": "1"}, ()),
    "not-https": (None, {"HF_ENDPOINT": "http://hub.example.org"}, ()),
    "pull-request-at-nothing": (None, {}, ("--pr",)),
    "public-already": (released, {}, ("--private",)),
    "tag-with-other-bytes": (changed_tag, {}, ()),
    "files-of-others": (foreign, {}, ()),
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_user_must_mend_is_told_and_nothing_is_written(name: str, hub: FakeHub, tmp_path: Path) -> None:
    before, settings, options = CASES[name]
    bundle = tiny_bundle(tmp_path / "bundle")
    if before:
        before(hub, bundle)
    done = send(hub, bundle, *options, **settings)
    assert done.returncode == (1 if name == "tag-with-other-bytes" else 2)
    assert not WRITING & set(hub.requests) - ({"create_repo"} if name.startswith("foreign-") else set())
    assert settings.get("token", "?") not in done.stderr or not settings["token"]
    assert_golden(f"hub/{name}", done.stderr, bundle=bundle.root)


def test_a_bundle_with_a_missing_file_is_refused_before_the_hub_is_asked(hub: FakeHub, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    (bundle.root / "data/demo/many.parquet").unlink()
    done = send(hub, bundle)
    assert done.returncode == 1
    assert "data/demo/many.parquet: missing" in done.stderr
    assert not hub.requests


def test_names_that_the_hub_keeps_for_itself_are_refused(hub: FakeHub, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    (bundle.root / ".cache").mkdir()
    (bundle.root / ".cache" / "x").write_text("x")
    done = send(hub, summed(bundle.root))
    assert done.returncode == 1
    assert_golden("hub/name-that-is-refused", done.stderr)
    (bundle.root / ".gitattributes").write_text("x")
    done = send(hub, summed(bundle.root))
    assert done.returncode == 2
    assert not hub.requests
    assert_golden("hub/gitattributes", done.stderr, bundle=bundle.root)


def test_a_card_that_the_hub_refuses_is_told(hub: FakeHub, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    (bundle.root / "README.md").write_text("---\n- a\n---\n")
    done = send(hub, summed(bundle.root))
    assert done.returncode == 1
    assert_golden("hub/wrong-card", done.stderr)
    assert not hub.repos[NAME].tags


def test_a_change_by_someone_else_meanwhile_is_not_overwritten(hub: FakeHub, tmp_path: Path) -> None:
    first = tiny_bundle(tmp_path / "1")
    released(hub, first)
    repo, commit = hub.repos[NAME], hub.commit

    def late(handler: Handler, name: str, revision: str) -> None:
        if repo.history()[0].title != "By hand":
            tree = repo.history()[0].tree | {"README.md": hub.keep(b"mine")}
            repo.branches["main"] = repo.add(repo.branches["main"], "By hand", tree)
        commit(handler, name, revision)

    hub.commit = late  # type: ignore[method-assign]
    done = send(hub, tiny_bundle(tmp_path / "2", "1.1.0"))
    assert done.returncode == 1
    assert_golden("hub/changed-meanwhile", done.stderr)
    assert (repo.history()[0].title, list(repo.tags)) == ("By hand", ["1.0.0"])
    assert contents(hub, repo, "main")["README.md"] == b"mine"


def quick(hub: FakeHub, bundle: Bundle, read: float = 20) -> subprocess.Popen[str]:
    """A release that hardly pauses."""
    hub.requests = []
    running = subprocess.Popen(
        [sys.executable, "-c", QUICK, bundle.root, NAME, str(read)],
        env=environment(hub),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    hub.client = running.pid
    return running


@pytest.mark.parametrize("kind", ["lost 500", "lost", "503", "stall"])
def test_a_commit_whose_answer_is_lost_is_made_once(kind: str, hub: FakeHub, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    hub.chunk = 4000
    hub.faults = [Fault(1, kind, route) for route in ("create_repo", "put", "complete", "commit", "tag")]
    running = quick(hub, bundle, read=0.5)
    out, error = running.communicate()
    assert (running.returncode, error) == (0, "")
    assert out.count("looking again") >= 3  # what is sent, the client itself tries again
    assert_released(hub, hub.repos[NAME], bundle)


@pytest.mark.parametrize(("kind", "seconds"), [("429", 1), ("limit", 7)])
def test_the_pause_is_as_long_as_the_server_asks(kind: str, seconds: int, hub: FakeHub, tmp_path: Path) -> None:
    hub.faults = [Fault(1, kind, "whoami"), Fault(1, kind, "commit")]
    running = quick(hub, tiny_bundle(tmp_path / "bundle"))
    out, _ = running.communicate()
    assert running.returncode == 0
    assert out.count(f"looking again in {seconds} s") == 2


def test_two_at_the_same_time_make_one_release(hub: FakeHub, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    both = [quick(hub, bundle) for _ in range(2)]
    for each in both:
        out, error = each.communicate()
        assert (each.returncode, error) == (0, ""), out
    assert_released(hub, hub.repos[NAME], bundle)


def test_a_server_that_fails_for_long_is_given_up_and_told(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults = [Fault(1, "lost 500", "commit"), Fault(2, "503", "revision_info", lasts=True)]
    running = quick(hub, tiny_bundle(tmp_path / "bundle"))
    _, error = running.communicate()
    assert running.returncode == 1
    assert_golden("hub/fails-for-long", error)


KINDS = ["429", "limit", "500", "503", "drop", "half", "lost", "lost 500", "kill", "lost kill", "dead", "clock"]


@pytest.mark.faults
def test_faults_at_random_moments_end_after_one_more_run_in_one_release(hub: FakeHub, tmp_path: Path) -> None:
    """Releases in a row, each hit at random by an error of the server or a kill -9, then run once more."""
    count = len(seeds(3))
    chance = random.Random(SEED)
    hub.chunk = 4000
    bundles: list[Bundle] = []
    seen: dict[str, list[int]] = {}
    for number in range(count):
        if number % 10 == 0:  # a new repo, so that creating it is hit too
            hub.repos.clear()
            bundles = []
            for file in hub.folder.iterdir():
                file.unlink()
        tables = {"few": 3 + number, "many": 5000, f"new{number}": 2000 + number}
        bundle = tiny_bundle(tmp_path / str(number), f"1.{number}.0", **tables)
        # Kinds in turn, so that few faults are of many kinds; the moment by chance.
        kind, moment = KINDS[number % len(KINDS)], chance.randint(1, 40)
        hub.faults = [] if kind == "clock" else [Fault(moment, "503" if kind == "dead" else kind, lasts=kind == "dead")]
        running = quick(hub, bundle)
        if kind == "clock":
            time.sleep(chance.uniform(0.15, 0.8))
            running.kill()
        running.communicate()
        hub.faults = []
        seen.setdefault(kind, []).append(running.returncode)
        running = quick(hub, bundle)
        out, error = running.communicate()
        assert (running.returncode, error) == (0, ""), (SEED, kind, moment, out)
        bundles.append(bundle)
        assert_released(hub, hub.repos[NAME], *bundles)
    print(f"{count} faults; exit codes of the runs that were hit: {seen}")
    assert count < 100 or all(any(codes) for kind, codes in seen.items() if "kill" in kind or kind in ("dead", "clock"))


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


def test_load_dataset_at_the_version_gives_the_local_tables(samples: Samples, hub: FakeHub, tmp_path: Path) -> None:
    root = tmp_path / "bundle"
    shutil.copytree(samples.root / "data", root / "data")
    for name in ("README.md", "datapackage.json"):
        shutil.copy(samples.root / name, root)
    bundle = summed(root)
    released(hub, bundle)
    assert_loads(hub, bundle)


def test_a_bundle_that_passed_the_gate_goes_to_the_repo_it_names(hub: FakeHub, tmp_path: Path) -> None:
    made = releasable(tmp_path, rows=100)
    report = gate.check(made.archive, made.sources(tmp_path / "cache"), ORGANISATION)
    bundle = pack(report, tmp_path / "bundle")
    assert bundle
    released(hub, bundle, repo="")
    assert_released(hub, hub.repos[NAME], bundle)
    named = json.loads((bundle.root / "datapackage.json").read_text())["resources"][0]["urls"]
    assert named[0].partition("/datasets/")[2] == f"{NAME}/resolve/{bundle.version}/data/blocks/chat.parquet"
    assert_loads(hub, bundle)


def assert_loads(hub: FakeHub, bundle: Bundle) -> None:
    """Every config of the card, loaded and streamed at the version without a token, is the local tables."""
    card = bundle.root / "README.md"
    done = subprocess.run(
        [sys.executable, "-c", LOAD, NAME, bundle.version, card],
        env=environment(hub, token="", HF_DATASETS_DISABLE_PROGRESS_BARS="1", HF_HOME=f"{hub.folder}/cache"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    for config in yaml.safe_load(card.read_text().split("---")[1])["configs"]:
        for split in config["data_files"]:
            patterns = split["path"] if isinstance(split["path"], list) else [split["path"]]
            paths = [path for pattern in patterns for path in sorted(bundle.root.glob(pattern))]
            rows = [row for path in paths for row in pq.read_table(path, columns=config.get("columns")).to_pylist()]
            assert rows
            assert loaded.pop(f"{config['config_name']}/{split['split']}") == json.loads(json.dumps(rows))
    assert not loaded
