"""Sections as one HTML file and as Markdown."""

from html import escape
from pathlib import Path

from training.report.figures import Figure
from training.report.plots import drawing, legend
from training.report.sections import Block, Folded, Section
from training.report.tables import Table

TITLE = "AMNL and its baselines: the reproduction"
_LEDE = (
    "Which image tweets will a user retweet? Attentional Image Retweet Modeling via Multi-Faceted Ranking Network "
    "Learning (Zhao et al., IJCAI 2018), reimplemented and compared with its baselines under one protocol."
)
_QUICK = "This is a quick run: at most two epochs, one seed, not for comparing."
_STYLE = Path(__file__).with_name("page.css")


def html(sections: list[Section], quick: bool = False) -> str:
    """The comparison as a page."""
    return page(sections, TITLE, _LEDE, _QUICK if quick else "")


def page(sections: list[Section], title: str, lede: str, warning: str = "") -> str:
    """A page without scripts that refers to nothing outside itself."""
    links = "".join(f'<li><a href="#{section.name}">{escape(section.title)}</a></li>' for section in sections)
    body = "".join(
        f'<section id="{section.name}"><h2>{escape(section.title)}</h2>{"".join(map(_html, section.blocks))}</section>'
        for section in sections
    )
    warned = f'<p class="warning">{escape(warning)}</p>' if warning else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE.read_text('utf-8')}</style></head><body>"
        f"<header><h1>{escape(title)}</h1>{warned}<p>{escape(lede)}</p>"
        f'<nav aria-label="Contents"><ul>{links}</ul></nav></header><main>{body}</main></body></html>\n'
    )


def markdown(sections: list[Section], quick: bool = False) -> str:
    """The tables for a document; a figure is a link to its file, and its table of values."""
    parts = [f"## {section.title}\n\n" + "\n".join(map(_markdown, section.blocks)) for section in sections]
    warning = f"**{_QUICK}**\n\n" if quick else ""
    return f"# {TITLE}\n\n{warning}" + "\n".join(parts)


def drawings(sections: list[Section]) -> dict[str, str]:
    """Every figure that has panels as an SVG file, by the file's name."""
    figures = [block for section in sections for block in section.blocks if isinstance(block, Figure)]
    return {f"{one.name}.svg": drawing(one.caption, one.panels, one.labels) for one in figures if one.panels}


def _html(block: Block) -> str:
    match block:
        case Table():
            return block.html()
        case Figure(table=None):
            return f"<p>{escape(block.caption)}</p>"
        case Figure():
            table = _html(Folded("The values", [block.table])) if block.table else ""
            panels = "".join(f"<div>{panel}</div>" for panel in block.panels)
            caption = f"<figcaption>{escape(block.caption)}</figcaption>"
            return f'<figure>{caption}{legend(block.labels)}<div class="panels">{panels}</div>{table}</figure>'
        case Folded():
            inner = "".join(map(_html, block.blocks))
            return f"<details><summary>{escape(block.title)}</summary>{inner}</details>"
        case _:
            return f"<p>{escape(block)}</p>"


def _markdown(block: Block) -> str:
    match block:
        case Table():
            return block.markdown()
        case Figure():
            shown = f"\n![{block.caption}]({block.name}.svg)\n" if block.panels else ""
            return f"{block.caption}\n{shown}" + (f"\n{block.table.markdown()}" if block.table else "")
        case Folded():
            return f"### {block.title}\n\n" + "\n".join(map(_markdown, block.blocks))
        case _:
            return f"{block}\n"
