"""docs/cli.md, from the parsers of the command lines."""

import argparse
from collections.abc import Iterator

from contract.cli.result import told_fields
from contract.cli.statuses import Status
from contract.cli.verbs import Verb
from docs.generate.markdown import code, document, table
from service.cli import parser as service_parser
from training.cli import parser as training_parser

INTRODUCTION = """\
# Command line reference

Written by `make docs` from the parsers. What each command is for: [commands](commands.md). Every command takes
`--help`. The stores are those of the [environment variables](configuration.md). With `--json` a command prints one
object with the fields that are listed here, where its exit status is 0.
"""

_Commands = argparse._SubParsersAction


def commands_page() -> str:
    """Every command with every argument."""
    parsers = (training_parser(), service_parser())
    parts = [part for parser in parsers for part in _described(parser, parser.description or "")]
    statuses = table(("Exit status", "Meaning"), ((status.value, status.meaning) for status in Status))
    return document(INTRODUCTION, statuses, *parts)


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """By name; those of all levels are found by asking again."""
    return {
        name: child
        for action in parser._actions
        if isinstance(action, _Commands)
        for name, child in action.choices.items()
    }


def _described(parser: argparse.ArgumentParser, help_: str) -> Iterator[str]:
    yield f"## {code(parser.prog)}"
    yield f"{help_[:1].upper()}{help_[1:].rstrip('.')}."
    yield table(("Argument", "Meaning"), _arguments(parser))
    for group in parser._mutually_exclusive_groups:
        names = " and ".join(_name(action) for action in group._group_actions)
        yield f"{'One' if group.required else 'At most one'} of {names}."
    yield from _of_verb(parser.prog.split()[2], parser.get_default("verb"))
    helps = {
        choice.dest: choice.help or ""
        for action in parser._actions
        if isinstance(action, _Commands)
        for choice in action._choices_actions
    }
    for name, child in subcommands(parser).items():
        yield from _described(child, helps[name])


def _of_verb(module: str, verb: Verb | None) -> Iterator[str]:
    if verb is None:
        return
    yield f"```text\n{verb.more}\n```" if "\n" in verb.more else verb.more
    examples = "\n".join(f"python -m {module} {example}".rstrip() for example in verb.examples)
    yield f"```sh\n{examples}\n```"
    if verb.result is not None:
        fields = told_fields(verb.result).items()
        yield table(("Field of --json", "Meaning"), ((code(name), meaning) for name, meaning in fields))


def _arguments(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if isinstance(action, _Commands | argparse._HelpAction):
            continue
        words = [
            action.help or "",
            f"one of {', '.join(code(choice) for choice in action.choices)}" if action.choices else "",
            f"default: {code(action.default)}" if _has_default(action) else "",
            "required" if action.required and action.option_strings else "",
        ]
        yield _name(action), "; ".join(word for word in words if word)


def _name(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 or action.choices else _value(action)
    return code(f"{action.option_strings[-1]} {value}".strip()) if action.option_strings else code(value)


def _value(action: argparse.Action) -> str:
    return str(action.metavar or action.dest.upper())


def _has_default(action: argparse.Action) -> bool:
    unset = action.default in (None, False, "", argparse.SUPPRESS)
    return not unset and "default:" not in (action.help or "")
