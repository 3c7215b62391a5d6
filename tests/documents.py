"""Pages in Markdown as they are read: links, anchors, code."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.conftest import ROOT

HISTORY = ("CHANGELOG.md", "docs/experiments.md", "docs/decisions/", "docs/reproduction/", "docs/performance")
"""Pages that tell what was: names of their day may be gone."""


@dataclass(frozen=True)
class Block:
    """Code of its own lines."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Page:
    """A page of the repository."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def is_history(self) -> bool:
        return self.name.startswith(HISTORY)

    @cached_property
    def tokens(self) -> list[Token]:
        return MarkdownIt("commonmark").enable("table").parse(self.path.read_text("utf-8"))

    @property
    def inline(self) -> Iterator[Token]:
        yield from (child for token in self.tokens for child in token.children or [])

    @property
    def links(self) -> list[str]:
        found = (token.attrGet("href") or token.attrGet("src") for token in self.inline)
        return [str(target) for target in found if target]

    @property
    def references(self) -> Iterator[tuple[str, str]]:
        """What is named in code and linked: the name, and where it is said to be."""
        for first, second in zip(tokens := list(self.inline), tokens[1:], strict=False):
            if first.type == "link_open" and second.type == "code_inline":
                yield second.content, str(first.attrGet("href"))

    @property
    def code(self) -> list[str]:
        """Code within lines."""
        return [token.content for token in self.inline if token.type == "code_inline"]

    @property
    def blocks(self) -> Iterator[Block]:
        for token in self.tokens:
            if token.type in ("fence", "code_block"):
                yield Block(token.info or token.type, token.content, (token.map or [0])[0] + 1)

    @cached_property
    def anchors(self) -> set[str]:
        """As GitHub makes them: the second heading of the same words ends in -1."""
        made: dict[str, int] = {}
        for heading, words in zip(self.tokens, self.tokens[1:], strict=False):
            if heading.type == "heading_open":
                text = "".join(child.content for child in words.children or [])
                slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
                made[slug] = made.get(slug, -1) + 1
        return {slug if n == 0 else f"{slug}-{n}" for slug, count in made.items() for n in range(count + 1)}


PAGES = [
    Page(path)
    for path in (
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        *sorted(ROOT.glob("docs/**/*.md")),
        *sorted(ROOT.glob("examples/**/*.md")),
    )
]


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a piece of shell, each as its words; variables that are set before one are left out."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;"):
                if words:
                    yield words
                words = []
            elif words or not re.match(r"[A-Z_]+=", word):
                words.append(word)


def curl_lines(page: Page) -> list[str]:
    """Lines of shell that ask a service."""
    shell = [block.text for block in page.blocks if block.language == "sh"]
    return [line for text in shell for line in text.splitlines() if line.startswith("curl ")]
