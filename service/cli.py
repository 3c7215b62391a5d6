"""The service's command line as a table of verbs: what they take and tell."""

import argparse
from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, Field

from contract.cli.completion import completion_verb
from contract.cli.options import whole_number
from contract.cli.result import Result
from contract.cli.verbs import Parser, Program, Verb, parser_of
from service.scopes import SCOPES

_SCRIPT = "image-tweets-service"


class KeyMade(Result):
    """A new key, which is shown this once."""

    key: str = Field(description="for the header Authorization: Bearer KEY; it is not kept, so keep it")

    def table(self) -> list[str]:
        """The key alone, for a shell to take."""
        return [self.key]


class Key(BaseModel):
    """A key without its secret."""

    key_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    per_minute: int | None


class KeysListed(Result):
    """Keys that are valid."""

    keys: list[Key] = Field(description="key_id, name, scopes, created_at and per_minute (null: no limit) of each")

    def table(self) -> list[str]:
        """A line a key."""
        return [_line(key) for key in self.keys]


class KeyRevoked(Result):
    """A key that is not taken any more."""

    key_id: str = Field(description="which is revoked")

    def done(self) -> str:
        """A line."""
        return f"key {self.key_id} is revoked"


def _line(key: Key) -> str:
    rate = "" if key.per_minute is None else f"  {key.per_minute:,} a minute"
    return f"{key.key_id}  {key.created_at:%Y-%m-%d %H:%M}  {','.join(key.scopes):16}  {key.name}{rate}"


def _create(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", metavar="NAME", help="whose it is, up to 64 characters")
    command.add_argument(
        "--scopes", default="read", metavar="SCOPES", help=f"split by commas: {', '.join(SCOPES)} (default: read)"
    )
    command.add_argument(
        "--per-minute", type=_rate, metavar="N", help="how often it may ask, at least 1 (default: no limit)"
    )


def _rate(text: str) -> int:
    return whole_number(text, 1)


def _revoke(command: argparse.ArgumentParser) -> None:
    command.add_argument("key_id", metavar="ID", help="as `keys list` shows it")


PROGRAM = Program(
    module="service",
    script=_SCRIPT,
    description="The HTTP service. Without a command it serves until told to stop.",
    verbs=(
        Verb(
            name="serve",
            help="serve until told to stop; the same as no command",
            run="service.serving:serve",
            examples=("", "serve"),
            more="Environment variables say where it listens and which stores it uses (docs/configuration.md).\n"
            "Its log goes to standard error, a JSON object a line. Once it listens, Ctrl-C ends it with status 0,\n"
            "and SIGTERM, after DRAIN_SECONDS, with 143; what is under way is answered first. Statuses 1 and 130 are\n"
            "of one that is told to end before it listens.",
        ),
        Verb(
            name="keys create",
            help="make a key and print it, this once",
            run="service.key_commands:create",
            examples=("keys create phone-app", "keys create importer --scopes read,write --per-minute 600"),
            options=_create,
            result=KeyMade,
        ),
        Verb(
            name="keys list",
            help="list keys that are not revoked, without their secrets",
            run="service.key_commands:list_all",
            examples=("keys list", "keys list --json"),
            result=KeysListed,
        ),
        Verb(
            name="keys revoke",
            help="end a key, within a second and for good",
            run="service.key_commands:revoke",
            examples=("keys revoke 1a2b3c4d",),
            options=_revoke,
            result=KeyRevoked,
        ),
        completion_verb(_SCRIPT),
    ),
    families={"keys": "bearer keys of the service"},
)


def parser() -> Parser:
    """All verbs and their options, without side effects or a store."""
    return parser_of(PROGRAM)


def with_verb(arguments: Sequence[str]) -> list[str]:
    """The same, with `serve` where there is none: nothing stands there, or but options."""
    of_program = {"-h", "--help", "--version"}
    serves = all(word.startswith("-") and word not in of_program for word in arguments)
    return ["serve", *arguments] if serves else list(arguments)
