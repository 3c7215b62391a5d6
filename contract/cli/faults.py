"""Any error as an exit status and one line: what is wrong, and what mends it."""

import errno
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool

from pydantic import ValidationError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from contract.cli.options import UsageWrong, invalid
from contract.cli.statuses import Status
from contract.errors import ContractError

_AGAIN = "then run the same command again"
_MENDS = {
    errno.ENOENT: "name one that is there",
    errno.ENOTDIR: "name a folder",
    errno.EISDIR: "name a file",
    errno.EACCES: "allow it to this user, or name another place",
    errno.EPERM: "allow it to this user, or name another place",
    errno.EROFS: "name a place that can be written",
    errno.ENOSPC: f"free some space, {_AGAIN}",
    errno.EDQUOT: f"free some space, {_AGAIN}",
    errno.EMFILE: f"raise `ulimit -n`, {_AGAIN}",
}


def fault(error: Exception, expected: Mapping[type[Exception], Status]) -> tuple[Status, str]:
    """How the command ends, and the line.

    `expected` has the program's own errors, whose messages say both what is wrong and what mends it.
    """
    for kind, status in expected.items():
        if isinstance(error, kind):
            return status, _first_line(error)
    match error:
        case UsageWrong():
            return Status.USAGE, _first_line(error)
        case ContractError():
            return Status.FAILED, _first_line(error)
        case ValidationError():
            return Status.FAILED, invalid(error)
        case SQLAlchemyError():
            return Status.FAILED, f"the database failed: {_first_line(error)}: check DATABASE_URL, {_AGAIN}"
        case RedisError():
            return Status.FAILED, f"Redis failed: {_first_line(error)}: check REDIS_URL, {_AGAIN}"
        case OSError():
            return Status.FAILED, _of_system(error)
        case BrokenProcessPool():
            return Status.FAILED, f"a worker process was killed, perhaps for want of memory: free some, {_AGAIN}"
        case MemoryError():
            return Status.FAILED, f"not enough memory: free some, {_AGAIN}"
        case _ if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not to be imported here
            return Status.FAILED, f"not enough memory on the GPU: free some, or lower --batch, {_AGAIN}"
    return Status.BUG, (
        f"{type(error).__name__}: {_first_line(error)}: this is a fault of the program: "
        "run the same command with --debug, and report what it prints"
    )


def _of_system(error: OSError) -> str:
    if error.errno is None or error.strerror is None:
        return _first_line(error)
    where = "" if error.filename is None else f"{error.filename}: "
    mends = _MENDS.get(error.errno, f"mend that, {_AGAIN}")
    return f"{where}{error.strerror}: {mends}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]
