"""Settings models as options of a command line, and as what the environment says."""

import argparse
from typing import TypeVar, get_args

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
        choices = [value for value in get_args(field.annotation) if isinstance(value, str)]
        literal = choices if choices and len(choices) == len(get_args(field.annotation)) else None
        command.add_argument(
            _option(name),
            choices=literal,
            metavar=None if literal else "VALUE",
            default=argparse.SUPPRESS,
            help=f"{field.description or name} (default: {field.default})",
        )


def given(options: argparse.Namespace, settings: type[M]) -> M:
    """The settings that stand on the command line. Raises UsageWrong where they cannot be."""
    values = {name: getattr(options, name) for name in settings.model_fields if hasattr(options, name)}
    try:
        return settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        option = _option(str(first["loc"][0])) if first["loc"] else ""
        raise UsageWrong(": ".join(part for part in (option, first["msg"]) if part)) from error


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
            f"or unset it ({'the default is none' if default is None else f'the default is {default}'})"
        ) from error


def invalid(error: ValidationError) -> str:
    """The first field that is wrong, and why."""
    first = error.errors()[0]
    return ": ".join(part for part in (".".join(map(str, first["loc"])), first["msg"]) if part)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
