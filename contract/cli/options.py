"""Settings models as options of a command line, and as what the environment says."""

import argparse
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings

from contract.errors import ContractError

M = TypeVar("M", bound=BaseModel)
S = TypeVar("S", bound=BaseSettings)


class UsageWrong(Exception):
    """A command line that argparse takes and that cannot be meant."""


class EnvironmentWrong(ContractError):
    """A variable of the environment has no value that it can have."""


def add_settings(command: argparse.ArgumentParser, settings: type[BaseModel], *names: str) -> None:
    """An option for every field of a settings model, or for some; pydantic reads and checks the values."""
    for name in names or settings.model_fields:
        field = settings.model_fields[name]
        choices = _choices(field.annotation)
        command.add_argument(
            _option(name),
            choices=choices,
            metavar=None if choices else "FILE" if Path in _kinds(field.annotation) else "VALUE",
            default=argparse.SUPPRESS,
            help=f"{field.description or name} (default: {in_words(field.default)})",
        )


def given(options: argparse.Namespace, settings: type[M]) -> M:
    """The settings that stand on the command line. Raises UsageWrong where they cannot be."""
    values = {name: getattr(options, name) for name in settings.model_fields if hasattr(options, name)}
    try:
        return settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        option = _option(str(first["loc"][0])) if first["loc"] else ""
        mends = f"see `{options.command.prog} --help`"
        raise UsageWrong(": ".join(part for part in (option, first["msg"], mends) if part)) from error


def environment(settings: type[S]) -> S:
    """The settings that the environment has. Raises EnvironmentWrong with the variable's name."""
    try:
        return settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        default = settings.model_fields[name].default
        raise EnvironmentWrong(
            f"{name.upper()}: {first['msg']}: give this environment variable another value, "
            f"or unset it (the default is {in_words(default)})"
        ) from error


def in_words(default: object) -> str:
    """A default, for people."""
    return "none" if default in (None, "") else str(default).lower() if isinstance(default, bool) else str(default)


def whole_number(text: str, least: int, most: int | None = None) -> int:
    """For argparse, whose own message has Python's name of a type."""
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least or (most is not None and value > most):
        raise argparse.ArgumentTypeError(f"{text} is no whole number {bounds}")
    return value


def invalid(error: ValidationError) -> str:
    """The first field that is wrong, and why."""
    first = error.errors()[0]
    return ": ".join(part for part in (".".join(map(str, first["loc"])), first["msg"]) if part)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) or (annotation,)


def _choices(annotation: Any) -> list[str] | None:
    """All values that there are, if they are words."""
    if annotation is bool:
        return ["true", "false"]
    kinds = _kinds(annotation)
    return list(kinds) if all(isinstance(kind, str) for kind in kinds) else None
