"""A report: all pages link to each other and to nothing else, and a folder that is none stays as it was."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

import llm_trace_archive as lta
from support.command import run_here
from support.programs import Samples
from support.reports import REPORTED


class Links(html.parser.HTMLParser):
    """All that a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.found += [(tag, values[name]) for name in ("href", "src") if name in values]
        self.ids += [values["id"]] if "id" in values else []


def pages(report: Path) -> Iterator[tuple[Path, Links]]:
    for path in report.rglob("*.html"):
        yield path, Links(path.read_text())


def test_every_link_leads_to_a_file_or_a_heading_of_the_report(report: Path) -> None:
    for path, links in pages(report):
        assert len(links.ids) == len(set(links.ids)), path
        for tag, link in links.found:
            if link.startswith(("https://", "data:")):
                assert tag == "a" or link == "data:,", f"{path} asks {link}"  # what a reader may follow
                continue
            file, _, anchor = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target.is_file(), f"{path}: {link}"
            assert not anchor or anchor in Links(target.read_text()).ids, f"{path}: {link}"


def test_a_page_is_smaller_than_2_mb_with_its_scripts(report: Path) -> None:
    shared = sum(path.stat().st_size for path in (report / "assets").iterdir())
    for path, _ in pages(report):
        images = sum(each.stat().st_size for each in path.parent.glob("*.svg"))
        assert path.stat().st_size + shared + images < 2_000_000


def test_every_page_says_that_the_content_is_synthetic(report: Path) -> None:
    for path, _ in pages(report):
        assert "Synthetic: look-alikes" in path.read_text()


def test_images_carry_the_data_and_the_command(report: Path) -> None:
    svg = (report / "azure-2023-code/azure-2023-code-rate.svg").read_text()
    text = re.search(r"<metadata>(.*?)</metadata>", svg, re.DOTALL)
    assert text
    of_svg = json.loads(
        re.sub("&quot;", '"', text[1]).replace("&#x27;", "'").replace("&gt;", ">").replace("&amp;", "&")
    )
    png = (report / "azure-2023-code/azure-2023-code-rate.png").read_bytes()
    at = png.index(b"iTXt")
    (length,) = struct.unpack(">I", png[at - 4 : at])
    of_png = json.loads(png[at + 4 : at + 4 + length].removeprefix(b"Description\0\0\0\0\0"))
    assert of_svg == of_png
    assert of_svg["command"] == "llm-traces report azure-2023/code -o report"
    assert of_svg["data"] == (report / "azure-2023-code/azure-2023-code-rate.csv").read_text()
    assert "Splitwise" in of_svg["cite"]


def test_the_csv_has_the_rows_of_the_rate(report: Path, samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(samples.root)
    rows = list(csv.DictReader(io.StringIO((report / "azure-2023-code/azure-2023-code-rate.csv").read_text())))
    whole = [row for row in rows if row["window"] == "whole period"]
    width = int(whole[0]["width_us"]) / 1e6
    expected = lta.open("azure-2023/code").rate(width).arrow().to_pylist()  # type: ignore[attr-defined]
    assert [(int(row["start_us"]), int(row["requests"])) for row in whole] == [
        (row["start_us"], row["requests"]) for row in expected
    ]


def test_the_same_command_writes_the_same_bytes(report: Path, samples: Samples, tmp_path: Path) -> None:
    assert run_here("report", *REPORTED, "-o", tmp_path / "again", cwd=samples.root).returncode == 0
    files = [path.relative_to(report) for path in report.rglob("*") if path.is_file()]
    assert sorted(files) == sorted(
        p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file()
    )
    for file in files:
        assert (report / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


def test_a_report_replaces_a_report_and_nothing_else(samples: Samples, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    refused = run_here("report", "azure-2023/code", "-o", tmp_path, cwd=samples.root)
    assert refused.returncode == 2
    assert "exists and is not a report" in refused.stderr
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    for _ in range(2):
        assert run_here("report", "kavier/decode", "-o", tmp_path / "site", cwd=samples.root).returncode == 0
    assert not list(tmp_path.glob(".*"))
    for name in ("thesis.tex", "profiles.bak", "assets/thesis.tex"):
        (tmp_path / "site" / name).write_text("years of work")
        assert run_here("report", "kavier/decode", "-o", tmp_path / "site", cwd=samples.root).returncode == 2
        (tmp_path / "site" / name).unlink()
    (tmp_path / "profiles.json").write_text("{}")  # as `profile --json` may have written it
    assert run_here("report", "kavier/decode", "-o", tmp_path, cwd=samples.root).returncode == 2


def test_a_file_of_ones_own_has_a_page(samples: Samples, tmp_path: Path) -> None:
    mine = tmp_path / "my run.parquet"
    shaped = run_here("shape", "azure-2023/code", "--window", "0..10min", "-o", mine, cwd=samples.root)
    assert shaped.returncode == 0, shaped.stderr
    done = run_here("report", mine, "-o", tmp_path / "site", cwd=samples.root)
    assert done.returncode == 0, done.stderr
    assert "<h1>" in (tmp_path / "site/my-run/index.html").read_text()


def test_tables_of_something_else_are_named_with_the_reason(samples: Samples, tmp_path: Path) -> None:
    refused = run_here("report", "kavier/utilisation", "-o", tmp_path / "site", cwd=samples.root)
    assert refused.returncode == 2
    assert "kavier/utilisation: a table of telemetry, not of requests" in refused.stderr
    assert not (tmp_path / "site").exists()


def test_content_that_is_not_here_is_named_with_the_command_that_brings_it(samples: Samples, tmp_path: Path) -> None:
    clone = samples.clone(tmp_path)
    refused = run_here("report", "azure-2023/code", "-o", tmp_path / "site", cwd=clone)
    assert refused.returncode == 2
    assert "llm-traces get azure-2023" in refused.stderr
