"""An archive that somebody else made: nothing is written outside its folders, and nothing endless is read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.core.files import inside
from support.command import run_here
from support.small_archive import publish


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_TRACES_CACHE", str(home / "cache"))
        publish(home, "http://127.0.0.1:9", {"few": ("few.csv", 3)})
    return home


@pytest.fixture
def archive(published: Path, tmp_path: Path) -> Archive:
    """A copy of a built archive that is no git repository, beside a folder that nobody may touch."""
    root = tmp_path / "archive"
    for name in ("recipes", "schemas"):
        shutil.copytree(published / "published" / name, root / name)
    shutil.copy(published / "published/datapackage.json", root)
    (root / "data/demo").mkdir(parents=True)
    (root / "docs/traces").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/precious").write_text("mine")
    return Archive(root)


def untouched(archive: Archive) -> bool:
    outside = archive.root.parent / "outside"
    return [(each.name, each.read_text()) for each in outside.iterdir()] == [("precious", "mine")]


@pytest.mark.parametrize("folder", ["data/demo", "data", "schemas", "docs/traces"])
@pytest.mark.parametrize("target", ["outside", "archive/recipes"])
def test_a_folder_that_is_a_link_is_not_written_to(folder: str, target: str, archive: Archive, published: Path) -> None:
    path = archive.root / folder
    if folder == "schemas":  # which marks an archive
        shutil.copy(path / "recipe.schema.json", archive.root.parent / target)
    shutil.rmtree(path)
    path.symlink_to(archive.root.parent / target)
    done = run_here("build", "--mirror", published / "mirror", cwd=archive.root)
    assert done.returncode == 2, done.stdout
    assert "may lead out of the archive\n  reason  " in done.stderr and f"{folder} is a symbolic link" in done.stderr
    (archive.root.parent / target / "recipe.schema.json").unlink(missing_ok=True)
    assert untouched(archive) and [each.name for each in (archive.root / "recipes").iterdir()] == ["demo.toml"]


def test_a_file_that_is_a_link_is_replaced_and_not_followed(archive: Archive, published: Path) -> None:
    precious = archive.root.parent / "outside/precious"
    for name in ("README.md", "data/demo/few.parquet", "schemas/demo.json", ".llm-traces-card.md"):
        (archive.root / name).unlink(missing_ok=True)
        (archive.root / name).symlink_to(precious)
    done = run_here("build", "--mirror", published / "mirror", cwd=archive.root)
    assert done.returncode == 0, done.stderr
    assert untouched(archive)


def test_planted_temporary_files_are_not_followed(archive: Archive, published: Path) -> None:
    for folder, name in (("data/demo", "few.parquet"), ("", "datapackage.json"), ("", "README.md")):
        for ending in ("part", "00000000.part", "00000000.link"):
            (archive.root / folder / f".{name}.{ending}").symlink_to(archive.root.parent / "outside/precious")
    assert run_here("build", "--mirror", published / "mirror", cwd=archive.root).returncode == 0
    assert untouched(archive)


def test_names_lead_nowhere_though_the_archive_says_they_may(archive: Archive, published: Path) -> None:
    recipe = archive.root / "recipes/demo.toml"
    text = recipe.read_text()
    for name in ("request.json", "recipe.schema.json", "datapackage.schema.json"):
        (archive.root / "schemas" / name).write_text("{}")
    for old, new in (
        ('name = "few"', 'name = "../../../../outside/pwned"'),
        ('name = "few"', 'name = "few\\n"'),
        ('name = "few"', 'name = "."'),
        ('name = "few.csv"', 'name = "../../outside/pwned"'),
        ('name = "few.csv"', 'name = ".."'),
        ('name = "demo"', 'name = "../demo"'),
        ("files = [", 'table = "../../outside"\nfiles = ['),
        (
            "files = [",
            'derived = [{ name = "../../pwned", filter = "succeeded", sha256 = "'
            + "0" * 64
            + '", bytes = 1 }]\nfiles = [',
        ),
        ("files = [{", 'files_from = "../../outside/precious"\nx = [{'),
    ):
        assert old in text
        recipe.write_text(text.replace(old, new, 1))
        for command in (["build", "--mirror", published / "mirror"], ["describe"], ["list"], ["validate"]):
            done = run_here(*command, cwd=archive.root)
            assert done.returncode == 2 and "recipes/demo.toml: the recipe is wrong" in done.stderr, (new, command)
    assert untouched(archive)


def test_endless_files_are_not_read(archive: Archive, published: Path) -> None:
    for name in ("README.md", "CITATION.cff", "schemas/demo.json", "schemas/request.json", ".gitattributes"):
        (archive.root / name).unlink(missing_ok=True)
        (archive.root / name).symlink_to("/dev/zero")
    os.mkfifo(archive.root / "data/demo/few.parquet")
    for command in (["list"], ["info", "demo"], ["describe"]):
        run_here(*command, cwd=archive.root)
    done = run_here("validate", "demo/none", cwd=archive.root)
    assert done.returncode == 2
    assert run_here("samples", archive.root.parent / "new", "--mirror", archive.root.parent / "m", cwd=archive.root)


def test_aliases_of_yaml_that_stand_for_a_billion_values_are_refused(archive: Archive) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (archive.root / "CITATION.cff").write_text("\n".join(lines))
    done = run_here("validate", cwd=archive.root)
    assert done.returncode == 1 and "has more than 2,000,000 values" in done.stdout


def test_only_paths_below_the_root_are_inside_it(tmp_path: Path) -> None:
    assert inside(tmp_path, "data/x/y.parquet") == tmp_path / "data/x/y.parquet"
    for path in ("../x", "data/../../x", "/etc/passwd"):
        with pytest.raises(BadUse, match="may lead out of the archive"):
            inside(tmp_path, path)
