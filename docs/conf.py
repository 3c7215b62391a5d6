"""How Sphinx makes the site: `make docs`."""

import re
from pathlib import Path

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "Image tweet recommender"
extensions = ["myst_parser"]
exclude_patterns = ["generate"]
nitpicky = True
myst_heading_anchors = 4
html_theme = "furo"
html_title = project
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False

_HERE = Path(__file__).parent
_LINK = re.compile(r"\[(?P<words>[^\]]+)\]\((?P<path>\.\.?/[^)#]+)\)")
_WITH_LINKS = "images/architecture.svg"


def setup(app: Sphinx) -> None:
    """Connect what makes pages that GitHub shows as they are fit for a site."""
    app.connect("source-read", add_contents)
    app.connect("source-read", name_what_is_elsewhere)
    app.connect("doctree-read", put_in_the_page)
    app.add_lexer("csv", TextLexer)


def add_contents(_: Sphinx, page: str, source: list[str]) -> None:
    """The pages that an index links to are the ones below it, in that order."""
    if page.split("/")[-1] == "index":
        linked = dict.fromkeys(re.findall(r"\]\(([\w/.-]+)\.md\)", source[0]))
        below = "\n".join(name for name in linked if not name.startswith(".."))
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n\n{below}\n```\n"


def name_what_is_elsewhere(app: Sphinx, page: str, source: list[str]) -> None:
    """A link to a folder or a page of the repository that is not on the site is its words alone."""
    folder = Path(app.env.doc2path(page)).parent

    def words_or_link(link: re.Match[str]) -> str:
        target = (folder / link["path"]).resolve()
        is_elsewhere = target.is_dir() or (target.suffix == ".md" and not target.is_relative_to(_HERE))
        return link["words"] if is_elsewhere else link[0]

    source[0] = _LINK.sub(words_or_link, source[0])


def put_in_the_page(_: Sphinx, page: nodes.document) -> None:
    """The picture whose boxes are links is a part of its page."""
    for picture in page.findall(nodes.image):
        if picture["uri"] == _WITH_LINKS:
            picture.replace_self(nodes.raw("", (_HERE / _WITH_LINKS).read_text("utf-8"), format="html"))
