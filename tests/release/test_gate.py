"""The gate: a release without findings, and one fault at a time."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema_rs
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace_archive import __version__
from llm_trace_archive.checks import sensitive
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.core.table import Table
from llm_trace_archive.release import limits
from llm_trace_archive.release.content import notice
from llm_trace_archive.release.gate import check as gate
from support.command import run_here
from support.golden import assert_golden
from support.programs import ROOT, git
from support.releases import DATE, LEFT_OUT, RELEASED, Release, releasable

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
    "Bearer token": "Authorization: " + "Bearer 0123abcd4567",
    "Password": "pass" + "word=hunter22",
}
# What points to a person, their account or their machine.
PERSONAL = {
    "e-mail addresses": (
        "jörg@exämple.org", "用户@例子.公司", "jo@xn--exmple-cua.org", "jo (at) example.org", "jo[at]example[dot]org",
        "JO <AT> EXAMPLE.ORG", "o'neill@example.org",
    ),
    "phone numbers": (
        "+49 30 1234567", "+1 (555) 234-5678", "+3120/5989898", "555-234-5678", "(555) 234-5678", "Tel.: 030 1234567",
    ),
    "bank accounts": ("DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "NL91ABNA0417164300"),
    "home folders": (
        "/home/jo/traces", "file:///home/jo/x", "/Users/jo", r"C:\Users\jo", r"C:\\Users\\jo\\x", "/root/x.csv",
    ),
}  # fmt: skip


def check(release: Release, cache: Path) -> gate.Report:
    return gate.check(Archive(release.root), release.sources(cache))


def list_findings(report: gate.Report, *subjects: str) -> str:
    """The findings of these subjects, or of all."""
    lines = [
        f"{subject}\n  {result.check}: {result}"
        for subject, results in report.results.items()
        for result in results
        if not result.holds and (not subjects or subject in subjects)
    ]
    return re.sub(r"\b[0-9a-f]{64}\b", "<sha256>", "\n".join(lines))


def test_a_release_without_findings_lists_what_it_leaves_out_and_why(
    original: Release, report: gate.Report, tmp_path: Path
) -> None:
    assert (report.findings, list_findings(report)) == (0, "")
    selection = report.contents.selection
    assert tuple(map(str, selection.released)) == RELEASED
    assert {str(each): reason for each, reason in selection.left_out} == LEFT_OUT
    fields = json.loads(report.as_json())
    schema = json.loads((ROOT / "schemas" / "release-report.schema.json").read_text())
    jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(fields)
    assert fields["released"] == list(RELEASED) and len(fields["results"]) > 150
    again = check(original, tmp_path)
    assert (report.as_json(), report.as_text()) == (again.as_json(), again.as_text())
    for place in (original.root, original.mirror, tmp_path):
        assert str(place) not in again.as_json() + again.as_text()


def change_tree(release: Release) -> None:
    (release.root / "note.txt").write_text("not committed\n")
    (release.root / "README.md").write_text("changed\n")


def rename_tag(release: Release) -> None:
    git("tag", "--delete", __version__, cwd=release.root)
    git("tag", f"v{__version__}", cwd=release.root)


def commit_after_tag(release: Release) -> None:
    git("commit", "--quiet", "--allow-empty", "--message", "After the tag", cwd=release.root)


def remove_date(release: Release) -> None:
    (release.root / "CHANGELOG.md").write_text(f"# Changelog\n\n## {__version__} (unreleased)\n\n- Not yet.\n")
    release.commit()


def change_versions(release: Release) -> None:
    for name in ("CITATION.cff", "datapackage.json"):
        path = release.root / name
        path.write_text(path.read_text().replace(__version__, "0.2.0", 1))
    release.commit()


def remove_files(release: Release) -> None:
    (release.root / "LICENSE.txt").unlink()
    (release.root / "CITATION.cff").unlink()
    release.commit()


def remove_licence_text(release: Release) -> None:
    (release.root / "LICENSES" / "Apache-2.0.txt").unlink()
    release.commit()


def remove_content(release: Release) -> None:
    path = release.root / "data/demo/few.parquet"
    path.resolve().parent.chmod(0o755)
    path.resolve().unlink()


def flip_byte(release: Release) -> None:
    path = (release.root / "data/demo/many.parquet").resolve()
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


def remove_git(release: Release) -> None:
    (release.root / ".git").rename(release.root.parent / "git")
    (release.root / "data").rename(release.root.parent / "data")


def move_to_the_future(release: Release) -> None:
    for name in ("CITATION.cff", "CHANGELOG.md"):
        path = release.root / name
        path.write_text(path.read_text().replace(DATE, "2999-01-01"))
    release.commit()


def fill_in_later(release: Release) -> None:
    path = release.root / "CITATION.cff"
    text = path.read_text().replace("Analytical Engine Society", "The LLM Trace Archive authors")
    path.write_text(text.replace("Lovelace", "Doe").replace("0000-0001-2345-6789", "0000-0002-1825-0097"))
    release.commit()


def name_one_licence(release: Release) -> None:
    path = release.root / "CITATION.cff"
    path.write_text(re.sub(r"license:\n(  - .*\n)+", "license: MIT\n", path.read_text()))
    release.commit()


def add_sensitive_texts(release: Release) -> None:
    with (release.root / "LICENSE.txt").open("a") as stream:
        stream.write(f"Ask jo.doe@example.org, or log in at 10.1.2.3 with {SECRETS['Hugging Face token']}.\n")
    recipe = release.root / "recipes" / "demo.toml"
    recipe.write_text(recipe.read_text() + "# seen from 2001:db8::17\n")
    release.commit()


FAULTS: dict[str, Callable[[Release], None]] = {
    "dirty-tree": change_tree,
    "wrong-tag": rename_tag,
    "tag-on-earlier-commit": commit_after_tag,
    "changelog-unreleased": remove_date,
    "date-in-the-future": move_to_the_future,
    "authors-to-fill-in": fill_in_later,
    "one-licence-of-several": name_one_licence,
    "versions-differ": change_versions,
    "files-missing": remove_files,
    "licence-text-missing": remove_licence_text,
    "content-missing": remove_content,
    "byte-flipped": flip_byte,
    "no-repository": remove_git,
    "sensitive-texts": add_sensitive_texts,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_of_the_archive_is_a_finding(fault: str, archive_copy: Release, tmp_path: Path) -> None:
    FAULTS[fault](archive_copy)
    report = check(archive_copy, tmp_path / "cache")
    assert report.findings
    assert_golden(f"release/{fault}", list_findings(report))


COLUMNS = {
    "e-mail": {"session_id": ["s1", "jo.doe@example.org", "s2"]},
    "address": {"session_id": ["s1", "s2", "192.0.2.17:8080", "2001:db8::17"]},
    "secret": {"model": ["a-1", SECRETS["Hugging Face token"]], "session_id": [SECRETS["AWS Access Key"], "s2"]},
    "sentences": {"model": [f"Please write {n} words about the weather in town {n}" for n in range(40)]},
    "short-sentences": {"session_id": [f"what is {n}?" for n in range(40)]},
    "other-scripts": {"session_id": [f"请翻译第{n}句" for n in range(40)]},
    "long-word": {"session_id": ["x" * 129, "y"]},
}


def test_columns_with_sensitive_values_are_findings(tmp_path: Path) -> None:
    release = releasable(tmp_path, rows=10, columns=COLUMNS)
    report = check(release, tmp_path / "cache")
    for fault in COLUMNS:
        findings = list_findings(report, f"demo/{fault}")
        assert findings
        assert_golden(f"release/column-{fault}", findings)
    assert list_findings(report) == list_findings(report, *(f"demo/{fault}" for fault in COLUMNS))
    for secret in SECRETS.values():
        assert secret not in report.as_json()


def test_a_licence_that_spdx_does_not_list_is_a_finding(tmp_path: Path) -> None:
    report = check(releasable(tmp_path, rows=10, spdx="CC BY 4.0"), tmp_path / "cache")
    assert_golden("release/unknown-licence", list_findings(report))


LICENCES = {
    "CC-BY-NC-ND-4.0": "not by CC-BY-NC-ND-4.0",
    "LicenseRef-Ours": "not by LicenseRef-Ours",
    "GPL-3.0-only AND MIT": "not by GPL-3.0-only",
    "MIT": "copyright notice that MIT requires",
    "BSD-3-Clause": "copyright notice that BSD-3-Clause requires",
}


@pytest.mark.parametrize("spdx", LICENCES)
def test_a_licence_needs_a_reason_or_a_notice_that_it_does_not_give_itself(tmp_path: Path, spdx: str) -> None:
    release = releasable(tmp_path, rows=10, spdx=spdx)
    found = list_findings(check(release, tmp_path / "cache"), "demo/few")
    assert LICENCES[spdx] in found and "recipes/demo.toml" in found


def test_the_recipe_gives_the_reason_and_the_notice(tmp_path: Path) -> None:
    given = 'reason = "The authors allow it."\ncopyright = ["Copyright (c) 1843 A. A. L."]'
    release = releasable(tmp_path, rows=10, spdx="LicenseRef-Ours AND MIT", licence=given)
    citation = release.root / "CITATION.cff"
    citation.write_text(citation.read_text().replace("  - LicenseRef-Ours AND MIT\n", ""))
    release.commit()
    report = check(release, tmp_path / "cache")
    assert list_findings(report) == ""
    texts = report.contents.texts
    assert "The authors allow it." in texts["NOTICE"]
    for path in ("NOTICE", "LICENSES/MIT.txt"):
        assert "Copyright (c) 1843 A. A. L." in texts[path]
    assert "<year>" not in texts["LICENSES/MIT.txt"]


def test_an_unavailable_upstream_is_a_finding(original: Release, tmp_path: Path) -> None:
    nowhere = Release(original.archive, tmp_path / "no-mirror")
    assert_golden("release/upstream-unavailable", list_findings(check(nowhere, tmp_path / "cache")))


def test_limits_of_the_targets(original: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"data/a/{number}.parquet": 1 for number in range(101)} | {"data/b/huge.parquet": 60 * 10**9}
    findings = [str(each) for each in limits.check_sizes(many) if not each.holds]
    assert all(each.holds for each in limits.check_sizes({f"data/a/{number}": 5 * 10**8 for number in range(99)}))
    monkeypatch.setattr(limits, "GROUP_BYTES", 1000)
    monkeypatch.setattr(limits, "ZENODO_FILES", 10)
    report = check(original, tmp_path)
    assert_golden("release/limits", "\n".join([*findings, list_findings(report)]))


def test_all_faults_are_reported_at_once(archive_copy: Release, tmp_path: Path) -> None:
    for fault in (remove_date, remove_content, change_tree, rename_tag, flip_byte):
        fault(archive_copy)
    findings = list_findings(check(archive_copy, tmp_path / "cache"))
    for subject in ("working tree", "tag of HEAD", "CHANGELOG.md", "data/demo/few.parquet", "sha256"):
        assert subject in findings


def test_the_command_prints_all_writes_json_and_exits_with_1_on_findings(archive_copy: Release, tmp_path: Path) -> None:
    arguments = ("release", "check", "--mirror", archive_copy.mirror, "--json", tmp_path / "report.json")
    ran = run_here(*arguments, cwd=archive_copy.root)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.endswith("\n3 workloads to release, 4 left out, 0 findings\n")
    assert "  demo/agreement  not redistributable (CC-BY-4.0)\n" in ran.stdout
    rename_tag(archive_copy)
    ran = run_here(*arguments, cwd=archive_copy.root)
    assert ran.returncode == 1 and "DIFFERS  state         tag of HEAD: expected" in ran.stdout
    assert json.loads((tmp_path / "report.json").read_text())["findings"] == 1


def test_an_unwritable_report_and_an_unreadable_text_are_bad_use(
    report: gate.Report, archive_copy: Release, tmp_path: Path
) -> None:
    with pytest.raises(BadUse) as unwritable:
        report.write_json(tmp_path / "no-such-folder" / "report.json")
    (archive_copy.root / "LICENSE.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(BadUse) as unreadable:
        check(archive_copy, tmp_path / "cache")
    assert_golden("release/unwritable-or-unreadable", f"{unwritable.value}\n{unreadable.value}", tmp=tmp_path)


def test_an_archive_without_tables_has_nothing_to_release(empty_archive: Archive) -> None:
    ran = run_here("release", "check", cwd=empty_archive.root)
    assert ran.returncode == 1
    assert "tables to release: expected 1 or more, found none" in ran.stdout


def test_a_missing_library_is_named(original: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlcroissant", None)
    message = r"mlcroissant: is not installed, and a release needs it(.|\n)*--editable '\.\[release\]'"
    with pytest.raises(BadUse, match=message):
        check(original, tmp_path)


# -- sensitive values -------------------------------------------------------------------------------------------------


def find_matches(*values: str) -> dict[str, list[str]]:
    array = pa.array(values, pa.string())
    return {kind: array.filter(mask).to_pylist() for kind, mask, _ in sensitive.find_sensitive(array)}


@pytest.mark.parametrize("kind", SECRETS)
def test_secrets_are_found_and_named_but_not_shown(kind: str) -> None:
    for text in (SECRETS[kind], f"token = '{SECRETS[kind]}'", f"x {SECRETS[kind]} y"):
        assert find_matches(text)["secrets"] == [text]
    ((_, _, described), *_) = sensitive.find_sensitive(pa.array([SECRETS[kind]]))
    assert described == [kind]


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
        "pip install a@1.2.3, arrived at noon (at 5 req/s), #@!.?, a@b.c/d",
        "2024-05-12 00:00:00+00:00, UTC+8, 1.5e+10, 3.7e+1234567, 512-123-4567, +12, 10-234-5678-9",
        "DE89 3704 0044 0532 0130 01, XX12ABCD12345678, AB12CD34EF56AB12CD34EF56",
        "https://example.org/home/page, src/home/x, ~/upstream, /homepage, /root",
        "password=<password>, password: ***, token=$TOKEN, 'password': {password}, output_tokens = 512, bearer of news",
        "",
    ],
)
def test_ids_hashes_versions_and_times_are_not_sensitive(harmless: str) -> None:
    assert not any(find_matches(harmless).values())


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in PERSONAL.items() for value in values])
def test_what_points_to_a_person_is_found_and_masked(kind: str, value: str) -> None:
    for text in (value, f"x {value} y", f"'{value}'", f"see {value}."):
        assert find_matches(text)[kind] == [text]
        described = {name: found for name, _, found in sensitive.find_sensitive(pa.array([text]))}[kind]
        assert value not in described[0] and "characters)" in described[0]


TEXTS = ["{}", "from {} to", "[{}]:80", "ip={};", "at {}. Then", "{}: hello", "ip:{}", "127.0.0.1 {}", "::1,{}"]


@given(st.ip_addresses(), st.sampled_from(TEXTS))
def test_every_ip_address_is_found(address: object, text: str) -> None:
    is_own = getattr(address, "is_loopback", False) or getattr(address, "is_unspecified", False)
    value = text.format(address)
    assert find_matches(value)["IP addresses"] == ([] if is_own else [value])


@given(st.emails(domains=st.sampled_from(["example.org", "a-b.example.co"])).filter(lambda each: each.isascii()))
def test_every_plain_email_address_is_found(address: str) -> None:
    assert find_matches(f"<{address}>")["e-mail addresses"] == [f"<{address}>"]


LETTERS = st.text(st.characters(categories=["Ll", "Lo"]), min_size=2, max_size=8)


@given(LETTERS, LETTERS, LETTERS)
def test_every_email_address_of_any_script_is_found(who: str, domain: str, top: str) -> None:
    address = f"{who}@{domain}.{top}"
    assert find_matches(f"<{address}>")["e-mail addresses"] == [f"<{address}>"]


def test_every_pattern_of_detect_secrets_runs_in_arrow() -> None:
    patterns = sensitive.load_secret_patterns()
    assert len(patterns) > 25
    for pattern in patterns.values():
        assert pc.match_substring_regex(pa.array(["nothing"]), pattern).to_pylist() == [False]


def check_columns(tmp_path: Path, **values: pa.Array) -> dict[str, list[str]]:
    """The findings by column."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(values), path, row_group_size=50)
    fields = [{"name": name, "arrowType": "list<string>" if pa.types.is_list(array.type) else "string"}
              for name, array in values.items()]  # fmt: skip
    found: dict[str, list[str]] = {name: [] for name in values}
    for each in sensitive.check_columns(Table(path), {"fields": fields}):
        if not each.holds:
            found[each.column].append(f"{each.name}: {each.found}; rows {[row for row, _ in each.rows]}")
    return found


def test_columns_are_judged_by_what_they_hold(tmp_path: Path) -> None:
    rows = 200
    found = check_columns(
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
        "notes": ["free text in notes: 200 distinct values, up to 15 characters; rows [0, 1, 2]"],
        "story": ["free text in story: 1 distinct value, up to 34 characters; rows [0, 1, 2]"],
        "lines": ["free text in lines: 1 distinct value, up to 9 characters; rows [0, 1, 2]"],
        "mixed": ["e-mail addresses in mixed: jo@e... (14 characters); rows [1]"],
        "nested": ["IP addresses in nested: 192.... (9 characters); rows [120, 121, 122]"],
    }


def test_addresses_that_authors_publish_are_allowed_in_the_citation_only(archive_copy: Release, tmp_path: Path) -> None:
    path = archive_copy.root / "CITATION.cff"
    path.write_text(path.read_text().replace("given-names: Jo", "given-names: Jo\n    email: jo@example.org"))
    archive_copy.commit()
    assert list_findings(check(archive_copy, tmp_path / "cache")) == ""
    (archive_copy.root / "README.md").write_text("Write to jo@example.org\n")
    archive_copy.commit()
    assert "README.md" in list_findings(check(archive_copy, tmp_path / "cache"))


@pytest.mark.parametrize(
    ("licence", "pages"),
    [
        ("MIT", ["https://spdx.org/licenses/MIT.html"]),
        ("MIT AND CC-BY-NC-4.0", [f"https://spdx.org/licenses/{key}.html" for key in ("MIT", "CC-BY-NC-4.0")]),
        ("MIT AND", []),
        ("LicenseRef-Ours OR MIT", ["https://example.org/terms", "https://spdx.org/licenses/MIT.html"]),
    ],
)
def test_pages_of_licences(licence: str, pages: list[str]) -> None:
    assert [*notice.find_pages([{"name": licence, "path": "https://example.org/terms"}]).values()] == pages
