"""Plots as SVG and PNG, which carry their numbers and where they come from."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from html import escape

from ..core.extras import require
from ..workload.plots.chart import CONFIGS, still
from ..workload.plots.study import Plot

VEGA_LITE = "6.4"
SIGNATURE = 8  # bytes before the chunks of a PNG
SCALE = 2  # pixels of a PNG to a unit of the chart


def draw_svg(plot: Plot, about: Mapping[str, str]) -> str:
    """Return a plot as SVG, with `about` and the rows as CSV in its metadata. Raises BadUse without vl-convert."""
    converter = require("vl_convert", "report", "a report")
    svg: str = converter.vegalite_to_svg(
        still(plot.full_spec), vl_version=VEGA_LITE, config=CONFIGS["light"], allowed_base_urls=[]
    )
    numbers: dict[str, str] = {}  # Vega numbers on from one chart to the next
    svg = re.sub(
        r"(?<=clip)\d+\b|(?<=gradient_)\d+\b", lambda found: numbers.setdefault(found[0], str(len(numbers))), svg
    )
    head, end, rest = svg.partition(">")
    title = f"<title>{escape(plot.title)}</title><desc>{escape(plot.summary)}</desc>"
    return f"{head}{end}{title}<metadata>{escape(_metadata(plot, about))}</metadata>{rest}\n"


def draw_png(svg: str, plot: Plot, about: Mapping[str, str]) -> bytes:
    """Return the PNG of an SVG, with the same metadata in a text chunk called Description."""
    png: bytes = require("vl_convert", "report", "a report").svg_to_png(svg, scale=SCALE)
    chunks = list(_chunks(png))
    # vl-convert hardly compresses: this makes a tenth of it.
    pixels = zlib.compress(zlib.decompress(b"".join(data for kind, data in chunks if kind == b"IDAT")), 4)
    head = [each for each in chunks if each[0] not in (b"IDAT", b"IEND")]
    text = b"Description\0\0\0\0\0" + _metadata(plot, about).encode()
    written = [*head, (b"iTXt", text), (b"IDAT", pixels), (b"IEND", b"")]
    return png[:SIGNATURE] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in written
    )


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and the data of each chunk of a PNG."""
    at = SIGNATURE
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += length + 12


def javascript() -> str:
    """Return the JavaScript that draws the charts of a page: Vega, Vega-Lite and vega-embed, for a script tag."""
    bundle: str = require("vl_convert", "report", "a report").javascript_bundle(vl_version=VEGA_LITE)
    return bundle


def _metadata(plot: Plot, about: Mapping[str, str]) -> str:
    facts = {"title": plot.title, "definition": plot.definition, **about, "data": plot.as_csv()}
    return json.dumps(facts, ensure_ascii=False)
