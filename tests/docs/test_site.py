"""The documentation: it builds without a warning, has words for every name and option, and asks no other host."""

from __future__ import annotations

import functools
import http.server
import inspect
import json
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

import llm_trace_archive as lta
from llm_trace_archive.cli.main import app
from support.chromium import CHROMIUM, MISSING
from support.command import run_here
from support.programs import BIN, ROOT, Samples

PAGES = {"index.html": "light", "schema.html": "dark"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [BIN / "mkdocs", "build", "--site-dir", folder], cwd=ROOT, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert built.returncode == 0, built.stderr  # strict: a warning is an error
    return folder


def test_every_page_of_the_docs_is_in_the_navigation(site: Path) -> None:
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    home = (site / "index.html").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f": {page.name}\n" in nav, page
    for page in (ROOT / "docs/traces").glob("*.md"):
        assert f'href="traces/{page.stem.replace("README", "index")}.html"' in home


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(https?://[^\"\s>]+)", page.read_text())
        assert loaded == [], page


def test_every_public_name_has_words_and_a_place_in_the_reference(site: Path) -> None:
    page = (site / "reference.html").read_text()
    for name in set(lta.__all__) - {"__version__"}:
        value = getattr(lta, name)
        assert inspect.getdoc(value), name
        assert re.search(rf'id="llm_trace_archive\.[\w.]+\.{name}"', page), name
        if inspect.isclass(value) and value.__module__.startswith("llm_trace_archive.workload"):
            for member, method in inspect.getmembers(value):
                if not member.startswith("_") and (inspect.isfunction(method) or isinstance(method, property)):
                    assert inspect.getdoc(method), f"{name}.{member}"


def leaves(command: Any, *path: str) -> Iterator[tuple[str, Any]]:
    for name, each in getattr(command, "commands", {}).items():
        yield from leaves(each, *path, name)
    if not hasattr(command, "commands"):
        yield " ".join(path), command


def test_every_command_and_option_has_words() -> None:
    page = (ROOT / "docs/cli.md").read_text()
    for name, command in leaves(typer.main.get_command(app)):
        assert command.help, name
        assert f"`llm-traces {name}`" in page
        for param in command.params:
            if param.param_type_name == "option":
                assert param.help, f"{name} {param.name}"


def test_the_specification_has_every_column_as_the_schema_does() -> None:
    page = (ROOT / "docs/schema.md").read_text()
    fields = json.loads((ROOT / "schemas/request.json").read_text())["fields"]
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\w*) \| [^|]* \| (.*) \|$", page, re.MULTILINE)
    assert rows == [(f["name"], f["arrowType"], f.get("unit", ""), f["description"]) for f in fields]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def listen(page: Page, root: str, complaints: list[str]) -> None:
    """Note what a page complains about and whom it asks."""
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    ours = (root, "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(ours) else complaints.append(request.url))


@pytest.mark.skipif(not CHROMIUM, reason=MISSING)
def test_the_pages_work_in_a_browser(site: Path) -> None:
    complaints: list[str] = []
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server,
        sync_playwright() as playwright,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}/"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, scheme in PAGES.items():
            page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
            listen(page, root, complaints)
            page.goto(root + name)
            faults = Axe().run(page, options={"preload": False}).response["violations"]
            complaints += [
                f"{name} {scheme}: {each['id']}, {each['nodes'][0]['html']}"
                for each in faults
                if each["impact"] in ("serious", "critical")
            ]
        browser.close()
        server.shutdown()
    assert complaints == []


@pytest.mark.parametrize("page", ["index.md", "report.md"])
def test_the_examples_of_a_page_run(
    page: str, samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(samples.root)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)
    assert {language for language, _ in blocks} == {"sh", "python"}
    for language, text in blocks:
        if language == "python":
            exec(compile(text, page, "exec"), {})
            continue
        for line in text.splitlines():
            words = shlex.split(line.replace("/tmp/", f"{tmp_path}/"))
            if words[:2] == ["llm-traces", "report"] and words[2] == "-o":
                words.insert(2, "kavier")  # all workloads take too long
            if words[0] == "llm-traces":
                done = run_here(*words[1:], cwd=samples.root)
                assert done.returncode == 0, f"{line}\n{done.stderr}"
