"""A program's verbs in one table, from which its parser, its help and its completion are made."""

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from contract.cli.result import Result, described
from contract.cli.statuses import Status, table
from contract.cli.terminal import write, write_error
from contract.release import NAME, release

COMMON = [status for status in Status if status is not Status.GATE_CLOSED]
"""Statuses that every verb may end with."""


def no_options(_: argparse.ArgumentParser) -> None:
    """Of a verb without any."""


@dataclass(frozen=True)
class Verb:
    """What stands after the program's name."""

    name: str
    """One word, or a family's and one."""
    help: str
    run: str
    """module:function, imported only to be run: from the options it makes the result."""
    examples: tuple[str, ...]
    options: Callable[[argparse.ArgumentParser], None] = no_options
    result: type[Result] | None = None
    """None: it says nothing in the end."""
    more: str = ""
    """A paragraph for its help."""
    statuses: tuple[Status, ...] = ()
    """Those of its own."""


@dataclass(frozen=True)
class Program:
    """A command line."""

    module: str
    """As in python -m MODULE."""
    script: str
    """The installed command, to which shells bind a completion."""
    description: str
    verbs: tuple[Verb, ...]
    families: Mapping[str, str]
    """First words that are followed by a second, and what they are for."""
    expected: Mapping[type[Exception], Status] = field(default_factory=dict)
    """Errors of its own that say in a line what is wrong and what mends it; the special ones first."""

    @property
    def called(self) -> str:
        """As it was called."""
        return self.script if Path(sys.argv[0]).name == self.script else f"python -m {self.module}"


_FORMATTER = partial(argparse.RawDescriptionHelpFormatter, max_help_position=28)


class Parser(argparse.ArgumentParser):
    """One whose errors are one line, and which takes no abbreviations."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given, allow_abbrev=False, formatter_class=_FORMATTER)

    def print_help(self, file: Any = None) -> None:
        """As any result, unless another file is given."""
        if file is None:
            write(self.format_help().rstrip())
        else:
            super().print_help(file)

    def error(self, message: str) -> NoReturn:
        """End with the status of a wrong command line."""
        _end(self.prog, message)


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def parser_of(program: Program, prog: str | None = None) -> Parser:
    """All verbs and their options; nothing is imported that they need to run."""
    prog = prog or f"python -m {program.module}"
    root = Parser(prog=prog, description=program.description, epilog=_root_epilog(program, prog))
    root.add_argument("--version", action="version", version=f"{NAME} {release()}", help="print the version")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    families: dict[str, Commands] = {}
    for verb in program.verbs:
        first, _, second = verb.name.partition(" ")
        if second and first not in families:
            about = program.families[first]
            family = commands.add_parser(first, help=about, description=f"{about[0].upper()}{about[1:]}.")
            families[first] = family.add_subparsers(required=True, metavar="ACTION")
        _add(verb, families[first] if second else commands, second or first, prog)
    return root


def refuse_unknown_verb(program: Program, prog: str, arguments: list[str]) -> None:
    """End, with a guess at what was meant, where the first words are no verb."""
    names = [verb.name.split() for verb in program.verbs]
    known: list[str] = []
    for place, word in enumerate(arguments[:2]):
        choices = [name[place] for name in names if name[:place] == known and len(name) > place]
        if word.startswith("-") or not choices:
            return
        if word not in choices:
            _end(" ".join([prog, *known]), f"{' '.join([*known, word])} is no command", _meant(word, choices))
        known.append(word)


def refuse_unknown_options(command: argparse.ArgumentParser, unknown: list[str]) -> None:
    """End where some are left over."""
    if unknown:
        name = unknown[0].partition("=")[0]
        known = re.findall(r"--[\w-]+", command.format_usage())
        if not name.startswith("-"):
            _end(command.prog, f"{name} is one argument too many for `{command.prog}`")
        if name in known:
            _end(command.prog, f"{name} stands before the command", f"put it behind `{command.prog}`")
        _end(command.prog, f"{name} is no option of `{command.prog}`", _meant(name, known))


def _meant(word: str, choices: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(word, sorted(set(choices)), n=1)
    return f"did you mean {near[0]}?" if near else None


def _end(prog: str, message: str, mends: str | None = None) -> NoReturn:
    write_error(f"{message}: {mends or f'see `{prog} --help`'}")
    sys.exit(Status.USAGE)


def _add(verb: Verb, to: Commands, name: str, prog: str) -> None:
    command = to.add_parser(name, help=verb.help, description=_description(verb), epilog=_epilog(verb, prog))
    verb.options(command)
    if verb.result is not None:
        command.add_argument("--json", action="store_true", help="print the result as one JSON object, nothing else")
    command.add_argument("--debug", action="store_true", help="print the traceback of an error, too")
    command.set_defaults(verb=verb, command=command)


def _description(verb: Verb) -> str:
    sentence = f"{verb.help[0].upper()}{verb.help[1:]}."
    return "\n\n".join(part for part in (sentence, verb.more) if part)


def _epilog(verb: Verb, prog: str) -> str:
    parts = ["examples:\n" + "\n".join(f"  {prog} {example}".rstrip() for example in verb.examples)]
    if verb.result is not None:
        parts.append("fields with --json, where the exit status is 0:\n" + described(verb.result))
    parts.append("exit statuses:\n" + table(sorted([*COMMON, *verb.statuses])))
    return "\n\n".join(parts)


def _root_epilog(program: Program, prog: str) -> str:
    statuses = sorted({*COMMON, *(status for verb in program.verbs for status in verb.statuses)})
    return (
        f"`{prog} COMMAND --help` shows a command's options, examples and JSON.\n"
        "Environment variables name the stores: see docs/configuration.md.\n\n"
        f"exit statuses:\n{table(statuses)}"
    )
