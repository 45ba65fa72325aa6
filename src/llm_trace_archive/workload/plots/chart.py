"""Vega-Lite specifications: how the charts look, and the few kinds of them that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Spec: TypeAlias = dict[str, Any]
Row: TypeAlias = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
WIDTH, HEIGHT = 640, 260
# Okabe and Ito's colours, which colour-blind people can tell apart: darker on white, lighter on black.
LIGHT = ("#0072B2", "#D55E00", "#007A5A", "#A64D86", "#6B5B00", "#444444")
DARK = ("#56B4E9", "#F0A04B", "#33C59A", "#E49BC6", "#F0E442", "#CCCCCC")
# Lines at powers of ten only.
DECADES: Spec = {
    "condition": {"test": "abs(log(datum.value) / LN10 - round(log(datum.value) / LN10)) < 0.001", "value": 1}
}
DECADES |= {"value": 0}
ZOOM = "wheel![event.shiftKey]"  # a wheel alone scrolls the page
MOST_SERIES = len(LIGHT)


def config(colours: Sequence[str], ink: str, faint: str, ground: str | None) -> Spec:
    """Return the looks of a chart: the colours of its series, of text, of the grid, and of what is behind."""
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
    return {
        "background": ground,
        "aria": False,  # the page describes each chart
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": text
        | {"gridColor": faint, "domainColor": faint, "tickColor": faint, "tickCount": 6, "labelOverlap": "greedy"},
        "axisX": {"grid": False, "titlePadding": 8},
        "axisY": {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "start", "titleX": 0, "titleY": -12},
        "legend": text
        | {
            "orient": "bottom",
            "columns": 3,
            "title": None,
            "symbolType": "stroke",
            "symbolStrokeWidth": 3,
            "symbolSize": 300,
            "labelLimit": 260,
        },
        "mark": {"color": colours[0]},
        "line": {"strokeWidth": 2, "strokeJoin": "round"},
        "rule": {"color": ink},
        "text": {"color": ink, "fontSize": 12},
        "range": {"category": list(colours), "heatmap": {"scheme": "cividis"}, "ramp": {"scheme": "cividis"}},
        "padding": {"left": 4, "right": 12, "top": 8, "bottom": 4},
    }


CONFIGS = {
    "light": config(LIGHT, "#222222", "#dddddd", "#ffffff"),
    "dark": config(DARK, "#e8e8e8", "#3d444d", "transparent"),
}


def numbers(field: str, title: str, log: bool = False, format: str = "~s", **scale: Any) -> Spec:
    """Return an axis of numbers."""
    kind = {"type": "log"} if log else {}
    axis = {"axis": {"format": format, "gridOpacity": DECADES}} if log else {}
    return {"field": field, "type": "quantitative", "title": title, "scale": kind | scale} | axis


def share(field: str, title: str, log: bool = False, is_whole: bool = True) -> Spec:
    """Return an axis of shares, from 0 to 100 % unless it is logarithmic or not the whole."""
    spec: Spec = numbers(field, title, log)
    spec["scale"] |= {"domain": [0, 1]} if is_whole and not log else {}
    spec["axis"] = {**spec.get("axis", {}), "format": "~%"}
    return spec


def series(field: str, names: Sequence[str]) -> Spec:
    """Return what tells the series of a chart apart: colour, and dashes for those who see none."""
    order = {"type": "nominal", "sort": list(names)}
    shown: Spec = {"field": field, **order, "legend": {} if len(names) > 1 else None}
    dashes = {"strokeDash": {"field": field, **order, "legend": None, "scale": {"range": DASHES}}}
    return {"color": shown, **(dashes if len(names) > 1 else {})}


DASHES = [[1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [12, 4], [4, 4]]


def fading(field: str) -> tuple[Spec, Spec]:
    """Return the parameter that a click on the legend sets, and the opacity of a series that it gives."""
    return (
        {"name": "shown", "select": {"type": "point", "fields": [field]}, "bind": "legend"},
        {"opacity": {"condition": {"param": "shown", "value": 1, "empty": True}, "value": 0.15}},
    )


def zoomable(axes: Sequence[str] = ("x",)) -> Spec:
    """Return the parameter that dragging and turning the wheel with Shift set."""
    return {
        "name": "zoom",
        "select": {"type": "interval", "encodings": list(axes), "zoom": ZOOM},
        "bind": "scales",
    }


def lines(
    x: Spec,
    y: Spec,
    by: Sequence[str] = (),
    *,
    field: str = "series",
    step: bool = False,
    has_points: bool = True,
    rules: Sequence[Spec] = (),
) -> Spec:
    """Return a chart of lines, a line for each series, with what a pointer shows, zoom and a legend to click."""
    mark: Spec = {"type": "line", "point": {"size": 20} if has_points else False, "tooltip": {"content": "data"}}
    if step:
        mark = {"type": "line", "interpolate": "step-after", "strokeWidth": 1.5, "tooltip": {"content": "data"}}
        if len(by) == 1:
            mark |= {"type": "area", "line": {"strokeWidth": 1.5}, "fillOpacity": 0.25}
    encoding: Spec = {"x": x, "y": y}
    params = [zoomable()]
    if len(by) > 1:
        param, opacity = fading(field)
        params.append(param)
        encoding |= opacity
    if by:
        encoding |= series(field, by)
    layer: list[Spec] = [{"params": params, "mark": mark, "encoding": encoding}]
    return framed({"layer": [*layer, *rules]})


def heat(x: Spec, y: Spec, colour: Spec, mark: Mapping[str, Any] | None = None) -> Spec:
    """Return a chart of coloured cells."""
    colour = colour | {"legend": {"orient": "right", "title": colour.get("title"), "symbolType": "square"}}
    rect = {"type": "rect", "tooltip": {"content": "data"}, **(mark or {})}
    return framed({"mark": rect, "encoding": {"x": x, "y": y, "color": colour}})


def rule(axis: str, value: float, label: str) -> list[Spec]:
    """Return a line across the chart at a value, with its label."""
    datum = {axis: {"datum": value}}
    offset = {"align": "left", "baseline": "bottom", "dx": 4, "dy": -3}
    place = {"x": {"value": 0}} if axis == "y" else {"y": {"value": 12}}
    return [
        {"data": {"values": [{}]}, "mark": {"type": "rule", "strokeDash": [4, 4]}, "encoding": datum},
        {"data": {"values": [{}]}, "mark": {"type": "text", "text": label, **offset}, "encoding": datum | place},
    ]


def still(spec: Spec) -> Spec:
    """Return a chart for paper: without what a pointer does, which is also faster to draw."""
    layers = [
        {name: value for name, value in layer.items() if name != "params"}
        | {"encoding": {name: value for name, value in layer["encoding"].items() if name != "opacity"}}
        for layer in spec.get("layer", ())
    ]
    return spec | ({"layer": layers} if layers else {})


def framed(spec: Spec) -> Spec:
    """Return the specification with the size that all charts have."""
    return {"$schema": SCHEMA, "width": WIDTH, "height": HEIGHT, **spec}
