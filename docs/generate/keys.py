"""The table of Redis keys in docs/architecture.md, from the docstrings of the modules that own them."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from docs.generate.markdown import code, filled, table

_KEY = re.compile(r"^    (\{ns\}:\S+(?: +\{ns\}:\S+)*) {2,}(.+(?:\n {8,}\S.*)*)$", re.MULTILINE)


def architecture_page(page: Path, packages: Sequence[Path]) -> str:
    """The page with the table as it is to be."""
    return filled(page, "keys", table(("Key", "What it holds", "Kept by"), redis_keys(packages)))


def redis_keys(packages: Sequence[Path]) -> Iterator[tuple[str, str, str]]:
    """Each with its bound and the module that owns it."""
    for module in (module for package in packages for module in sorted(package.glob("*.py"))):
        described = ast.get_docstring(ast.parse(module.read_text("utf-8")), clean=False) or ""
        for key, words in _KEY.findall(described):
            yield code(key), " ".join(words.split()), f"[{module.stem}](../{module.parent.name}/{module.name})"
