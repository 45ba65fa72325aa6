"""The gate: an archive that may leave, and one fault at a time that must keep it in."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace_archive import __version__
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.core.table import Table
from llm_trace_archive.release import limits
from llm_trace_archive.release.content import notice
from llm_trace_archive.release.gate import check as gate
from llm_trace_archive.release.gate import sensitive
from support.golden import assert_golden
from support.programs import ROOT, git, llm_traces
from support.releases import LEFT_OUT, RELEASED, Release, releasable

# In pieces, so that no scanner of this repository takes them for real.
SECRETS = {
    "Hugging Face token": "hf" + "_" + "aB3" * 12,
    "Zenodo token": "Zq7" * 20,
    "GitHub Token": "ghp" + "_" + "aB3d" * 9,
    "GitHub fine-grained token": "github" + "_pat_" + "aB3d" * 6,
    "GitLab Token": "glpat" + "-" + "aB3d" * 5,
    "AWS Access Key": "AKIA" + "IOSFODNN7EXAMPLE",
    "API key (sk-...)": "sk" + "-proj-" + "aB3d" * 10,
    "Google API key": "AIza" + "aB3d5" * 7,
    "Private Key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "Basic Auth Credentials": "https://jo:" + "pass" + "@example.org/",
    "JSON Web Token": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return releasable(tmp_path_factory.mktemp("gate"))


@pytest.fixture
def release(made: Release, tmp_path: Path) -> Release:
    """A copy to spoil."""
    shutil.copytree(made.root, tmp_path / "archive", symlinks=True)
    return Release(Archive(tmp_path / "archive"), made.mirror)


def report(release: Release, cache: Path) -> gate.Report:
    return gate.check(Archive(release.root), release.sources(cache))


def differences(found: gate.Report) -> str:
    lines = [
        f"{subject}\n  {result.check}: {result}"
        for subject, results in found.results.items()
        for result in results
        if not result.holds
    ]
    return re.sub(r"\b[0-9a-f]{64}\b", "<sha256>", "\n".join(lines))


def test_what_may_leave_leaves_and_the_rest_is_told_with_its_reason(made: Release, tmp_path: Path) -> None:
    found = report(made, tmp_path)
    assert (found.findings, differences(found)) == (0, "")
    selection = found.contents.selection
    assert tuple(map(str, selection.released)) == RELEASED
    assert {str(each): reason for each, reason in selection.left_out} == LEFT_OUT
    told = json.loads(found.as_json())
    schema = json.loads((ROOT / "schemas" / "release-report.schema.json").read_text())
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(told)
    assert told["released"] == list(RELEASED) and len(told["results"]) > 150
    for text in (found.as_json(), found.as_text()):
        assert str(made.root) not in text and str(made.mirror) not in text and str(tmp_path) not in text
        assert text == (report(made, tmp_path).as_json() if text.startswith("{") else report(made, tmp_path).as_text())


def _dirty(release: Release) -> None:
    (release.root / "note.txt").write_text("not committed\n")
    (release.root / "README.md").write_text("changed\n")


def _untagged(release: Release) -> None:
    git("tag", "--delete", __version__, cwd=release.root)
    git("tag", f"v{__version__}", cwd=release.root)


def _moved_on(release: Release) -> None:
    git("commit", "--quiet", "--allow-empty", "--message", "After the tag", cwd=release.root)


def _unreleased(release: Release) -> None:
    (release.root / "CHANGELOG.md").write_text(f"# Changelog\n\n## {__version__} (unreleased)\n\n- Not yet.\n")
    release.commit()


def _other_versions(release: Release) -> None:
    for name in ("CITATION.cff", "datapackage.json"):
        path = release.root / name
        path.write_text(path.read_text().replace(__version__, "0.2.0", 1))
    release.commit()


def _files_missing(release: Release) -> None:
    (release.root / "LICENSE.txt").unlink()
    (release.root / "CITATION.cff").unlink()
    release.commit()


def _licence_text_missing(release: Release) -> None:
    (release.root / "LICENSES" / "Apache-2.0.txt").unlink()
    release.commit()


def _absent(release: Release) -> None:
    path = release.root / "data/demo/few.parquet"
    path.resolve().parent.chmod(0o755)
    path.resolve().unlink()


def _flipped(release: Release) -> None:
    path = (release.root / "data/demo/many.parquet").resolve()
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


def _no_git(release: Release) -> None:
    (release.root / ".git").rename(release.root.parent / "git")
    (release.root / "data").rename(release.root.parent / "data")


def _personal_texts(release: Release) -> None:
    with (release.root / "LICENSE.txt").open("a") as stream:
        stream.write(f"Ask jo.doe@example.org, or log in at 10.1.2.3 with {SECRETS['Hugging Face token']}.\n")
    recipe = release.root / "recipes" / "demo.toml"
    recipe.write_text(recipe.read_text() + "# seen from 2001:db8::17\n")
    release.commit()


FAULTS: dict[str, Callable[[Release], None]] = {
    "dirty-tree": _dirty,
    "wrong-tag": _untagged,
    "tag-elsewhere": _moved_on,
    "changelog-unreleased": _unreleased,
    "versions-differ": _other_versions,
    "files-missing": _files_missing,
    "licence-text-missing": _licence_text_missing,
    "content-missing": _absent,
    "byte-flipped": _flipped,
    "no-repository": _no_git,
    "texts": _personal_texts,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_archive_keeps_it_in(fault: str, release: Release, tmp_path: Path) -> None:
    FAULTS[fault](release)
    found = report(release, tmp_path / "cache")
    assert found.findings
    assert_golden(f"release/{fault}", differences(found))


COLUMNS = {
    "e-mail": {"session_id": ["s1", "jo.doe@example.org", "s2"]},
    "address": {"session_id": ["s1", "s2", "192.0.2.17:8080", "2001:db8::17"]},
    "secret": {"model": ["a-1", SECRETS["Hugging Face token"]], "session_id": [SECRETS["AWS Access Key"], "s2"]},
    "sentences": {"model": [f"Please write {n} words about the weather in town {n}" for n in range(40)]},
    "short-sentences": {"session_id": [f"what is {n}?" for n in range(40)]},
    "other-scripts": {"session_id": [f"请翻译第{n}句" for n in range(40)]},
    "long-word": {"session_id": ["x" * 129, "y"]},
}


@pytest.mark.parametrize("fault", COLUMNS)
def test_a_column_with_what_must_not_leave_keeps_it_in(fault: str, tmp_path: Path) -> None:
    release = releasable(tmp_path, rows=10, columns=COLUMNS[fault])
    found = report(release, tmp_path / "cache")
    assert found.findings
    text = differences(found)
    assert_golden(f"release/column-{fault}", text)
    for secret in SECRETS.values():
        assert secret not in found.as_json()


def test_a_licence_that_spdx_does_not_list_keeps_it_in(tmp_path: Path) -> None:
    found = report(releasable(tmp_path, rows=10, spdx="CC BY 4.0"), tmp_path / "cache")
    assert_golden("release/licence", differences(found))


def test_an_upstream_that_is_not_at_hand_is_a_finding(made: Release, tmp_path: Path) -> None:
    nowhere = Release(made.archive, tmp_path / "no-mirror")
    assert_golden("release/upstream", differences(report(nowhere, tmp_path / "cache")))


def test_limits_of_the_targets(made: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"data/a/{number}.parquet": 1 for number in range(101)} | {"data/b/huge.parquet": 60 * 10**9}
    told = [str(each) for each in limits.size_results(many) if not each.holds]
    assert all(each.holds for each in limits.size_results({f"data/a/{number}": 5 * 10**8 for number in range(99)}))
    monkeypatch.setattr(limits, "GROUP_BYTES", 1000)
    monkeypatch.setattr(limits, "ZENODO_FILES", 10)
    assert_golden("release/limits", "\n".join([*told, differences(report(made, tmp_path))]))


def test_all_faults_are_told_at_once(release: Release, tmp_path: Path) -> None:
    for fault in (_unreleased, _absent, _dirty, _untagged, _flipped):
        fault(release)
    text = differences(report(release, tmp_path / "cache"))
    for told in ("working tree", "tag of HEAD", "CHANGELOG.md", "data/demo/few.parquet", "sha256"):
        assert told in text


def test_the_command_prints_all_writes_json_and_exits_1_on_findings(release: Release, tmp_path: Path) -> None:
    arguments = ("release", "check", "--mirror", release.mirror, "--json", tmp_path / "report.json")
    done = llm_traces(*arguments, cwd=release.root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("\n3 workloads to release, 4 left out, 0 findings\n")
    assert "  demo/agreement  may not be redistributed (CC-BY-4.0)\n" in done.stdout
    _untagged(release)
    done = llm_traces(*arguments, cwd=release.root)
    assert done.returncode == 1 and "DIFFERS  state         tag of HEAD: expected" in done.stdout
    assert json.loads((tmp_path / "report.json").read_text())["findings"] == 1


def test_a_report_that_can_not_be_written_and_a_text_that_can_not_be_read(release: Release, tmp_path: Path) -> None:
    with pytest.raises(BadUse) as unwritten:
        report(release, tmp_path / "cache").write_json(tmp_path / "no-such-folder" / "report.json")
    (release.root / "LICENSE.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(BadUse) as unread:
        report(release, tmp_path / "cache")
    assert_golden("release/unwritten", f"{unwritten.value}\n{unread.value}", tmp=tmp_path)


def test_an_archive_of_which_nothing_was_built(empty_archive: Archive, tmp_path: Path) -> None:
    done = llm_traces("release", "check", cwd=empty_archive.root)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "to release: expected 1 table or more, found nothing" in done.stdout


def test_what_release_needs_is_named(made: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlcroissant", None)
    with pytest.raises(BadUse, match=r"mlcroissant is not installed(.|\n)*--editable '\.\[release\]'"):
        report(made, tmp_path)


# -- what must not leave ----------------------------------------------------------------------------------------------


def offending(*values: str) -> dict[str, list[str]]:
    array = pa.array(values, pa.string())
    return {kind: array.filter(mask).to_pylist() for kind, mask, _ in sensitive.kinds(array)}


@pytest.mark.parametrize("kind", SECRETS)
def test_secrets_are_found_and_named_but_not_shown(kind: str) -> None:
    for text in (SECRETS[kind], f"token = '{SECRETS[kind]}'", f"x {SECRETS[kind]} y"):
        assert offending(text)["secrets"] == [text]
    ((_, _, told), *_) = sensitive.kinds(pa.array([SECRETS[kind]]))
    assert told == [kind]


@pytest.mark.parametrize(
    "harmless",
    [
        "54e9a6d2a4bd06ba1e060304b900abbc74cbea53de96506e60fe5bb4f2277fb6",
        "sha256:2f3506d9686e5372728409eba0d5d28ffe744752fd7fadbc9fee57ec1e8a6caf",
        "94f6046dfd9c0c8bc0cdb24a5aa6579bac8669bf",
        "b3bd5d2e-6f3c-4d8a-9b61-0f7f3a2b1c4d",
        "claude-opus-4-1-20250805",
        "Llama-3-8B",
        "hf://datasets/lmsys/lmsys-chat-1m@200748d9d3cddcc9d782887541057aca0b18c5da/data/",
        "2023-11-16 18:17:03.9799600",
        "| 0.06 | 26.0.1 | 10.20250828 | 1.2.3.4.5 | 300.1.1.1 | 12:34:56 |",
        "http://127.0.0.1:8000/ and ::1",
        "std::vector, a:b:c, @tag, foo@bar",
        "",
    ],
)
def test_ids_hashes_versions_and_times_are_none_of_it(harmless: str) -> None:
    assert not any(offending(harmless).values())


TEXTS = ["{}", "from {} to", "[{}]:80", "ip={};", "at {}. Then", "{}: hello", "ip:{}", "127.0.0.1 {}", "::1,{}"]


@given(st.ip_addresses(), st.sampled_from(TEXTS))
def test_every_ip_address_is_found(address: object, text: str) -> None:
    is_own = getattr(address, "is_loopback", False) or getattr(address, "is_unspecified", False)
    value = text.format(address)
    assert offending(value)["IP addresses"] == ([] if is_own else [value])


@given(st.emails(domains=st.sampled_from(["example.org", "a-b.example.co"])).filter(lambda each: each.isascii()))
def test_every_plain_email_address_is_found(address: str) -> None:
    assert offending(f"<{address}>")["e-mail addresses"] == [f"<{address}>"]


def test_every_pattern_of_detect_secrets_runs_in_arrow() -> None:
    patterns = sensitive._secrets()
    assert len(patterns) > 25
    for pattern in patterns.values():
        assert pc.match_substring_regex(pa.array(["nothing"]), pattern).to_pylist() == [False]


def columns(tmp_path: Path, **values: pa.Array) -> dict[str, list[str]]:
    """What is found in a table's columns, by column; those that hold are empty lists."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(values), path, row_group_size=50)
    fields = [{"name": name, "arrowType": "list<string>" if pa.types.is_list(array.type) else "string"}
              for name, array in values.items()]  # fmt: skip
    found: dict[str, list[str]] = {name: [] for name in values}
    for each in sensitive.column_results(Table(path), {"fields": fields}):
        if not each.holds:
            found[each.column].append(f"{each.name}: {each.found}; rows {[row for row, _ in each.rows]}")
    return found


def test_columns_are_judged_by_what_they_hold(tmp_path: Path) -> None:
    rows = 200
    found = columns(
        tmp_path,
        ids=pa.array([f"session-{n:06d}" for n in range(rows)]),
        labels=pa.array(["code completion", "Llama 3 8B", None, "中文"] * (rows // 4)).dictionary_encode(),
        lists=pa.array([["text", "tool use"], [], None, ["text"]] * (rows // 4)),
        nothing=pa.array([None] * rows, pa.string()),
        notes=pa.array([f"note number {n}" for n in range(rows)]),
        story=pa.array(["once upon a time there was a trace"] * rows),
        lines=pa.array(["two\nlines"] * rows),
        mixed=pa.array(["a", "jo@example.org"] + ["b"] * (rows - 2)),
        nested=pa.array([["a"]] * 120 + [["b", "see 192.0.2.1"]] * (rows - 120)),
    )
    assert found == {
        "ids": [],
        "labels": [],
        "lists": [],
        "nothing": [],
        "notes": ["free text in notes: 200 different values, up to 15 characters; rows [0, 1, 2]"],
        "story": ["free text in story: 1 different values, up to 34 characters; rows [0, 1, 2]"],
        "lines": ["free text in lines: 1 different values, up to 9 characters; rows [0, 1, 2]"],
        "mixed": ["e-mail addresses in mixed: jo@e... (14 characters); rows [1]"],
        "nested": ["IP addresses in nested: 192.... (9 characters); rows [120, 121, 122]"],
    }


def test_addresses_given_to_be_published_may_stand_in_the_citation(release: Release, tmp_path: Path) -> None:
    path = release.root / "CITATION.cff"
    path.write_text(path.read_text().replace("given-names: Jo", "given-names: Jo\n    email: jo@example.org"))
    release.commit()
    assert differences(report(release, tmp_path / "cache")) == ""
    (release.root / "README.md").write_text("Write to jo@example.org\n")
    release.commit()
    assert "README.md" in differences(report(release, tmp_path / "cache"))


@pytest.mark.parametrize(
    ("licence", "pages"),
    [
        ("MIT", ["https://spdx.org/licenses/MIT.html"]),
        ("MIT AND CC-BY-NC-4.0", [f"https://spdx.org/licenses/{key}.html" for key in ("CC-BY-NC-4.0", "MIT")]),
        ("MIT AND", []),
        ("LicenseRef-Ours OR MIT", ["https://example.org/terms", "https://spdx.org/licenses/MIT.html"]),
    ],
)
def test_pages_of_licences(licence: str, pages: list[str]) -> None:
    assert [*notice.pages([{"name": licence, "path": "https://example.org/terms"}]).values()] == pages
