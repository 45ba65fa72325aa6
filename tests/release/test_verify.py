"""What is published is what the gate passed: the bundle is checked again, on its own files."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_trace_archive import __version__
from llm_trace_archive.core.errors import BadUse, Problem
from llm_trace_archive.release.bundle.folder import Bundle
from llm_trace_archive.release.bundle.verify import require_gated, require_tag
from support.bundles import REPORT, summed, tiny_bundle
from support.command import run_here
from support.golden import assert_golden
from support.programs import git
from support.releases import Release

SECRET = "hf" + "_" + "aB3" * 12


@pytest.fixture
def bundle_copy(bundle: Bundle, tmp_path: Path) -> Bundle:
    """A real bundle to change."""
    shutil.copytree(bundle.root, tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


def test_a_bundle_of_the_gate_may_be_published(bundle: Bundle, original: Release) -> None:
    require_gated(bundle)
    require_tag(bundle, original.archive)
    report = bundle.read_json(REPORT)
    assert report["commit"] == git("rev-parse", "HEAD", cwd=original.root).strip()


def change_report(root: Path, **values: object) -> None:
    path = root / REPORT
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def plant_secret(root: Path) -> None:
    (root / "notes.txt").write_text(f"token: {SECRET}\nask jo.doe@example.org\n")


def plant_bytes(root: Path) -> None:
    (root / "data" / "more.parquet").write_bytes(b"PAR1\xff\xfe")


def change_text(root: Path) -> None:
    (root / "NOTICE").write_text("Take it, it is yours.\n")


def find_faults(root: Path) -> None:
    change_report(root, findings=3)


def fail_one_result(root: Path) -> None:
    results = json.loads((root / REPORT).read_text())["results"]
    change_report(root, results=[*results[:-1], results[-1] | {"holds": False}])


def empty_report(root: Path) -> None:
    change_report(root, results=[], commit="", version="9.9.9", content=None)


def forbid(root: Path) -> None:
    path = root / "recipes" / "demo.toml"
    path.write_text(path.read_text().replace("redistribute = true", "redistribute = false", 1))


def change_licence(root: Path) -> None:
    path = root / "recipes" / "demo.toml"
    path.write_text(path.read_text().replace('"CC-BY-4.0"', '"CC-BY-NC-ND-4.0"', 1))


def remove_licence(root: Path) -> None:
    (root / "LICENSES" / "Apache-2.0.txt").unlink()


FAULTS: dict[str, Callable[[Path], None]] = {
    "planted-secret": plant_secret,
    "planted-bytes": plant_bytes,
    "changed-text": change_text,
    "findings": find_faults,
    "failed-result": fail_one_result,
    "empty-report": empty_report,
    "not-redistributable": forbid,
    "changed-licence": change_licence,
    "licence-text-missing": remove_licence,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bundle_that_changed_after_the_gate_is_refused_though_its_sums_are_right(
    fault: str, bundle_copy: Bundle
) -> None:
    FAULTS[fault](bundle_copy.root)
    changed = summed(bundle_copy.root, gated=False)
    with pytest.raises(Problem) as caught:
        require_gated(changed)
    text = re.sub(r"\b[0-9a-f]{64}\b", "<sha256>", str(caught.value))
    assert_golden(f"release/bundle-{fault}", text, bundle=changed.root)
    assert SECRET not in text


def test_secrets_are_found_though_the_report_is_remade_too(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    require_gated(bundle)
    plant_secret(bundle.root)
    with pytest.raises(Problem, match=r"secrets in notes\.txt") as caught:
        require_gated(summed(bundle.root))
    assert "e-mail addresses in notes.txt" in str(caught.value)
    assert REPORT not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"results": 1, "findings": []}'])
def test_a_broken_report_is_refused(tmp_path: Path, text: str) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    (bundle.root / REPORT).write_text(text)
    with pytest.raises(Problem, match=REPORT):
        require_gated(summed(bundle.root, gated=False))


@pytest.mark.parametrize("target", ["zenodo", "huggingface"])
def test_both_commands_refuse_before_they_ask_a_server(target: str, bundle_copy: Bundle, tmp_path: Path) -> None:
    plant_secret(bundle_copy.root)
    summed(bundle_copy.root, gated=False)
    sandbox = ["--sandbox"] if target == "zenodo" else []
    settings = {"LLM_TRACES_ZENODO_URL": "http://127.0.0.1:9", "ZENODO_SANDBOX_TOKEN": "x", "HF_TOKEN": "x"}
    ran = run_here("release", target, bundle_copy.root, *sandbox, cwd=tmp_path, **settings)
    assert ran.returncode == 1
    assert "is not what the gate passed" in ran.stderr


def test_a_bundle_of_another_commit_is_refused(bundle: Bundle, archive_copy: Release, tmp_path: Path) -> None:
    git("commit", "--quiet", "--allow-empty", "--message", "Later", cwd=archive_copy.root)
    require_tag(bundle, archive_copy.archive)  # whatever is checked out
    messages = []
    for change in (["--force", __version__], ["--delete", __version__]):
        git("tag", *change, cwd=archive_copy.root)
        with pytest.raises(BadUse) as caught:
            require_tag(bundle, archive_copy.archive)
        messages.append(re.sub(r"\b[0-9a-f]{40}\b", "<commit>", str(caught.value)))
    assert_golden("release/another-commit", "\n".join(messages), bundle=bundle.root, archive=archive_copy.root)
    for target in ("zenodo", "huggingface"):
        ran = run_here("release", target, bundle.root, cwd=archive_copy.root, ZENODO_TOKEN="x", HF_TOKEN="x")
        assert (ran.returncode, "was not made from the commit" in ran.stderr) == (2, True)


def test_a_permanent_publication_needs_the_clone(bundle: Bundle, tmp_path: Path) -> None:
    ran = run_here("release", "zenodo", bundle.root, "--publish", cwd=tmp_path, ZENODO_TOKEN="x")
    assert ran.returncode == 2
    assert "is not in a clone of the archive" in ran.stderr
