"""Errors as an exit status and one line."""

import errno
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy.exc import OperationalError

import training.__main__
import training.cli
from contract.cli.faults import fault
from contract.cli.statuses import Status
from contract.errors import StoreUnavailable
from training.errors import GateClosed, InputRejected


def validation_error() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(list[int]).validate_python([1, "x"])
    return caught.value


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (GateClosed("worse: train anew"), 3, "worse: train anew"),
        (InputRejected("a.csv is empty: fill it"), 1, "a.csv is empty: fill it"),
        (StoreUnavailable("Redis is away: start it"), 1, "Redis is away: start it"),
        (validation_error(), 1, "1: Input should be a valid integer, unable to parse string as an integer"),
        (
            OperationalError("SELECT", {}, Exception("gone\nmore")),
            1,
            "the database failed: (builtins.Exception) gone: check DATABASE_URL, AGAIN",
        ),
        (RedisConnectionError("gone"), 1, "Redis failed: gone: check REDIS_URL, AGAIN"),
        (FileNotFoundError(errno.ENOENT, "Not there", "a"), 1, "a: Not there: name one that is there"),
        (PermissionError(errno.EACCES, "No", "a"), 1, "a: No: allow it to this user, or name another place"),
        (OSError(errno.ENOSPC, "No space left"), 1, "No space left: free some space, AGAIN"),
        (OSError(errno.EIO, "I/O error", "a"), 1, "a: I/O error: mend that, AGAIN"),
        (OSError("odd"), 1, "odd"),
        (
            BrokenProcessPool("a child"),
            1,
            "a worker process was killed, perhaps for want of memory: free some, AGAIN",
        ),
        (MemoryError(), 1, "not enough memory: free some, AGAIN"),
        (torch.OutOfMemoryError("8 GB"), 1, "not enough memory on the GPU: free some, or lower --batch, AGAIN"),
        (
            KeyError("x"),
            70,
            "KeyError: 'x': this is a fault of the program: run the same command with --debug, "
            "and report what it prints",
        ),
    ],
)
def test_an_error_has_a_status_and_a_line(error: Exception, status: int, line: str) -> None:
    assert fault(error, training.cli.PROGRAM.expected) == (
        status,
        line.replace("AGAIN", "then run the same command again"),
    )


def test_a_fault_of_the_program_is_a_line_and_with_debug_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("never to be")

    monkeypatch.setattr("training.commands.data.curl_lines", broken)
    assert training.__main__.main(["demo", "x"]) == Status.BUG
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith("error: RuntimeError: never to be: this is a fault of the program: run the same command")
    assert training.__main__.main(["demo", "x", "--debug"]) == Status.BUG
    again = capsys.readouterr().err
    assert again.startswith("Traceback")
    assert again.endswith(told.err)
