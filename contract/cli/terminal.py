"""What a command writes: results to standard output, all else to standard error; colours only on a terminal."""

import os
import sys
from enum import Enum
from typing import TextIO

from contract.cli.result import Result


class Colour(Enum):
    """Its ANSI code."""

    RED = 31
    GREEN = 32
    YELLOW = 33


class NobodyReads(Exception):
    """Standard output leads to a process that has ended."""


def painted(text: str, colour: Colour, stream: TextIO | None) -> str:
    """In colour where the stream is a terminal that has some, and NO_COLOR (https://no-color.org) is not set."""
    terminal = stream is not None and stream.isatty()
    plain = not terminal or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or not text else f"\x1b[{colour.value}m{text}\x1b[0m"


def say(text: str, *, as_json: bool) -> None:
    """A line of a result that grows while one waits; to standard error where standard output is for JSON."""
    if as_json:
        _beside(text)
    else:
        write(text)


def tell(result: Result, *, as_json: bool) -> None:
    """The result, in its one form or the other."""
    if as_json:
        write(result.model_dump_json(indent=2))
        return
    done = painted(result.done(), Colour.GREEN, sys.stdout)
    warnings = [painted(line, Colour.YELLOW, sys.stdout) for line in result.warnings()]
    if lines := [*result.table(), *([done] if done else []), *warnings]:
        write("\n".join(lines))


def write_error(line: str) -> None:
    """One line: what is wrong, and what mends it."""
    write_line(f"error: {line}", Colour.RED)


def write_line(line: str, colour: Colour) -> None:
    """To standard error."""
    _beside(painted(line, colour, sys.stderr))


def write(text: str) -> None:
    """To standard output, at once, if it is not closed. Raises NobodyReads, or OSError where it cannot be written."""
    try:
        print(text, flush=True)
    except OSError as error:
        # What is left is left out, or Python would try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise NobodyReads from error
        raise OSError(error.errno, error.strerror, "standard output") from error


def _beside(text: str) -> None:
    if sys.stderr is not None:  # closed: print() would take standard output instead
        print(text, file=sys.stderr, flush=True)
