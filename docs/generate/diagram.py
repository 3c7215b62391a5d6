"""docs/images/architecture.svg: the parts, what they tell one another, and where they keep it."""

from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

_WIDTH, _HEIGHT = 920, 470
_INK, _LINE, _FONT, _SMALL = "#1f2933", "#52606d", "system-ui, sans-serif", 12
_CODE, _STORE, _OUTSIDE = "#dbeafe", "#dcfce7", "#f3f4f6"


@dataclass(frozen=True)
class Box:
    """A part: a title, what it does, and the section of the page that it leads to."""

    x: int
    y: int
    width: int
    height: int
    fill: str
    section: str
    title: str
    lines: tuple[str, ...]


BOXES = (
    Box(15, 40, 170, 90, _OUTSIDE, "post-a-tweet", "Apps", ("POST /tweets", "GET recommendations")),
    Box(15, 340, 170, 90, _OUTSIDE, "retrain", "cron, or you", ("python -m training ...",)),
    Box(270, 20, 290, 130, _CODE, "service", "service/", ("HTTP, no torch", "encodes posts", "ranks for requests")),
    Box(
        270,
        195,
        290,
        85,
        _CODE,
        "contract",
        "contract/",
        ("tables, vectors, preprocessing,", "files, ONNX Runtime"),
    ),
    Box(
        270,
        325,
        290,
        125,
        _CODE,
        "training",
        "training/",
        ("trains, exports, verifies,", "publishes, backs up"),
    ),
    Box(
        690,
        20,
        210,
        90,
        _STORE,
        "redis-keys",
        "Redis or Valkey",
        ("vectors, timelines, follows", "what serves"),
    ),
    Box(690, 130, 210, 90, _STORE, "alembic", "PostgreSQL or SQLite", ("the network, versions, keys", "(alembic/)")),
    Box(690, 240, 210, 90, _STORE, "what-is-kept-where", "Pictures", ("a folder, or s3://...",)),
    Box(690, 350, 210, 90, _STORE, "exported_models", "exported_models/", ("three ONNX graphs,", "vectors, manifest")),
)

ARROWS = (
    (185, 85, 270, 85, ""),
    (185, 385, 270, 385, ""),
    (415, 150, 415, 195, "imports"),
    (415, 325, 415, 280, "imports"),
    (560, 65, 690, 65, ""),
    (560, 105, 690, 165, ""),
    (560, 135, 690, 262, ""),
    (690, 375, 560, 148, "loads"),
    (560, 400, 690, 400, "exports"),
    (560, 345, 690, 205, ""),
    (560, 375, 690, 300, ""),
    (560, 330, 690, 100, ""),
)
"""From, to, and what is done; an arrow without a word reads and writes."""


def diagram() -> str:
    """The picture, as SVG that needs nothing from elsewhere; boxes lead to sections of the architecture's page."""
    svg = Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img")
    svg.set("font-family", _FONT)
    SubElement(svg, "title").text = "The service and the trainer import contract/ and share four stores"
    _marker(svg)
    SubElement(svg, "rect", width=str(_WIDTH), height=str(_HEIGHT), fill="#ffffff")
    for arrow in ARROWS:
        _draw_arrow(svg, *arrow)
    for box in BOXES:
        _draw_box(svg, box)
    ElementTree.indent(svg)
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def _marker(svg: Element) -> None:
    marker = SubElement(SubElement(svg, "defs"), "marker", id="tip", viewBox="0 0 10 10", refX="10", refY="5")
    marker.attrib |= {"markerWidth": "8", "markerHeight": "8", "orient": "auto"}
    SubElement(marker, "path", d="M 0 0 L 10 5 L 0 10 z", fill=_LINE)


def _draw_arrow(svg: Element, x1: int, y1: int, x2: int, y2: int, word: str) -> None:
    path = SubElement(svg, "path", d=f"M {x1} {y1} L {x2} {y2}", stroke=_LINE, fill="none")
    path.set("marker-end", "url(#tip)")
    if word:
        _write(svg, (x1 + x2) // 2 + (36 if x1 == x2 else 0), (y1 + y2) // 2 - (6 if x1 != x2 else -4), word, _SMALL)


def _draw_box(svg: Element, box: Box) -> None:
    link = SubElement(svg, "a", href=f"#{box.section}", style="text-decoration: none")
    shape = {"x": box.x, "y": box.y, "width": box.width, "height": box.height, "rx": 8}
    SubElement(link, "rect", {name: str(value) for name, value in shape.items()}, fill=box.fill, stroke=_LINE)
    middle = box.x + box.width // 2
    top = box.y + (box.height - 20 * len(box.lines)) // 2
    _write(link, middle, top, box.title, 16, bold=True)
    for number, line in enumerate(box.lines, 1):
        _write(link, middle, top + 22 * number, line, 13)


def _write(parent: Element, x: int, y: int, words: str, size: int, bold: bool = False) -> None:
    place = {"x": str(x), "y": str(y), "font-size": str(size), "text-anchor": "middle", "fill": _INK}
    halo = {"stroke": "#ffffff", "stroke-width": "4", "paint-order": "stroke"} if size == _SMALL else {}
    SubElement(parent, "text", place | halo | ({"font-weight": "600"} if bold else {})).text = words
