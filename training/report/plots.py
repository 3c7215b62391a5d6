"""Plots as SVG that a page takes in: its colours and its font are the page's, so they follow light and dark."""

import re
from dataclasses import dataclass
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

SERIES = 6
"""So many lines can be told apart, by colour, marker and dashes."""
MARKERS = ("●", "■", "▲", "◆", "▼", "✚")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES = ("-", "-", "-", "--", "--", "--")
_LEGEND = 34
"""Height of a drawing's legend."""
_PAGE_STYLE = Path(__file__).with_name("page.css")
_INK, _GRID = "#010101", "#020202"
_COLOURS = tuple(f"#03030{number}" for number in range(1, SERIES + 1))
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
}


@dataclass(frozen=True)
class Curve:
    """A line: its place in the order of colours, points, and intervals where there are any."""

    series: int
    label: str
    x: list[float]
    y: list[float]
    low: list[float] | None = None
    high: list[float] | None = None


def panel(name: str, title: str, x_label: str, curves: list[Curve], alt: str, ticks: list[float] | None = None) -> str:
    """One plot; `name` makes its ids unique in the page."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(4.2, 3.0), layout="constrained")
        axes = figure.add_subplot()
        for curve in curves:
            colour = _COLOURS[curve.series]
            if curve.low is not None and curve.high is not None:
                axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.13, linewidth=0)
            marker = _MARKERS[curve.series] if len(curve.x) <= 30 else ""
            axes.plot(curve.x, curve.y, color=colour, marker=marker, linestyle=_DASHES[curve.series])
        axes.set_title(title)
        axes.set_xlabel(x_label)
        if ticks is None:
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        else:
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        text = StringIO()
        figure.savefig(
            text, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    return _inline(text.getvalue(), name, alt)


def legend(labels: list[tuple[int, str]]) -> str:
    """What the colours and markers mean, once for all panels of a figure."""
    items = "".join(
        f'<li><span class="s{series + 1}" aria-hidden="true">{MARKERS[series]}</span> {escape(label)}</li>'
        for series, label in labels
    )
    return f'<ul class="legend">{items}</ul>'


def drawing(alt: str, panels: list[str], labels: list[tuple[int, str]]) -> str:
    """Panels side by side under their legend as one SVG file that needs no page; it follows light and dark too."""
    sizes = [_size(one) for one in panels]
    width, height = sum(width for width, _ in sizes), max(height for _, height in sizes)
    nested, left = "", 0.0
    for one, (panel_width, panel_height) in zip(panels, sizes, strict=True):
        place = f'x="{left:g}" y="{_LEGEND}" width="{panel_width:g}" height="{panel_height:g}"'
        nested += one.replace("<svg", f"<svg {place}", 1)
        left += panel_width
    items = " \u2002 ".join(
        f'<tspan fill="var(--s{series + 1})">{MARKERS[series]}</tspan> {escape(label)}' for series, label in labels
    )
    palette = _PAGE_STYLE.read_text("utf-8").partition("* {")[0]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height + _LEGEND:g}" role="img">'
        f"<title>{escape(alt)}</title><style>{palette}</style>"
        '<rect width="100%" height="100%" fill="var(--card)"/>'
        f'<text x="12" y="22" font-size="12" fill="var(--ink)" style="font-family: var(--font)">{items}</text>'
        f"{nested}</svg>\n"
    )


def _size(svg: str) -> tuple[float, float]:
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    if found is None:
        raise ValueError("an SVG without a viewBox")
    return float(found[1]), float(found[2])


def _inline(svg: str, name: str, alt: str) -> str:
    """The drawing alone, with the page's colours and font in place of the file's, and nothing that points outside."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    width, height = _size(svg)
    opening = (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="{name}-alt">'
        f'<title id="{name}-alt">{escape(alt)}</title>'
    )
    svg = opening + svg[svg.index(">") + 1 :]
    svg = re.sub(r'<g id="[^"]*"', "<g", svg.replace("xlink:href", "href"))
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", svg)
    svg = re.sub(r"font: ([^;\"]*?px) [^;\"]*", r"font: \1 var(--font)", svg)
    svg = svg.replace(_INK, "var(--soft)").replace(_GRID, "var(--line)")
    for number, colour in enumerate(_COLOURS, start=1):
        svg = svg.replace(colour, f"var(--s{number})")
    return svg
