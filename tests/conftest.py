"""Fixtures of all tests: an isolated environment, the real mirror if there is one, an archive of look-alikes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from llm_trace_archive.core.archive import Archive
from support.chance import SEED
from support.no_clone import unpack_wheel
from support.programs import BIN, MIRROR, ROOT, Samples, git, llm_traces


def pytest_report_header() -> str:
    return f"random faults: SEED={SEED}"


# A busy machine is no finding.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(autouse=True, scope="session")
def _isolated_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees or changes the user's caches, git settings or home."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Test\n\temail = test@example.org\n[init]\n\tdefaultBranch = main\n"
        '[annex "security"]\n\tallowed-ip-addresses = all\n'
    )
    kept = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("LLM_TRACES_", "GIT_", "HF_"))]:
        del os.environ[name]
    os.environ |= {
        "HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "LLM_TRACES_CACHE": str(home / "cache"),
        "HF_HOME": str(home / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    before = (home / ".gitconfig").read_bytes()
    yield
    assert (home / ".gitconfig").read_bytes() == before, "a test changed the global git configuration"
    os.environ.clear()
    os.environ |= kept


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder of real upstream files."""
    if not MIRROR:
        pytest.skip("real upstream files: LLM_TRACES_MIRROR is not set")
    return Path(MIRROR)


@pytest.fixture
def archive() -> Archive:
    """This repository."""
    return Archive(ROOT)


@pytest.fixture
def empty_archive(tmp_path: Path) -> Archive:
    """Recipes and schemas of this repository, nothing built, no git."""
    root = tmp_path / "archive"
    for name in ("recipes", "schemas"):
        shutil.copytree(ROOT / name, root / name)
    return Archive(root)


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """The look-alikes, built and committed once for all tests; don't change them: clone."""
    from llm_trace_archive.demo.lookalikes import make_archive

    home = tmp_path_factory.mktemp("samples")
    mirror = home / "upstream"
    made = make_archive(Archive(ROOT), home / "archive", mirror, "http://127.0.0.1:9", rows=400)
    git("init", "--quiet", cwd=made.root)
    done = llm_traces("build", "--mirror", mirror, cwd=made.root)
    assert done.returncode == 0, done.stdout + done.stderr
    git("add", "--all", cwd=made.root)
    git("commit", "--quiet", "-m", "Samples", cwd=made.root)
    return Samples(made.root, mirror)


@pytest.fixture(scope="session")
def wheel(samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an unpacked wheel, whose archive is that of the look-alikes."""
    return unpack_wheel(samples.root, tmp_path_factory.mktemp("wheel") / "build")


@pytest.fixture
def without_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A PATH with DataLad and git-annex but not our programs: that of a user without this package."""
    folder = tmp_path / "stock"
    folder.mkdir()
    for program in BIN.iterdir():
        if program.name.startswith(("git-annex", "datalad")) and not program.name.endswith("-llm-traces"):
            (folder / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), "/usr/local/bin", "/usr/bin", "/bin"]))
    yield
