"""Exit statuses of all commands: the one table of them."""

from enum import IntEnum


class Status(IntEnum):
    """How a command ends."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> "Status":
        """A number and what it means, for people."""
        status = int.__new__(cls, value)
        status._value_ = value
        status.meaning = meaning
        return status

    DONE = 0, "done"
    FAILED = 1, "failed: one line on standard error says what, and what mends it"
    USAGE = 2, "the command line is wrong, nothing was done"
    GATE_CLOSED = 3, "the gate stopped the new version, the old one serves"
    BUG = 70, "a fault of this program: --debug shows where"
    INTERRUPTED = 130, "interrupted (Ctrl-C)"
    NOBODY_READS = 141, "what reads the output has ended, as head does"
    TERMINATED = 143, "told to end (SIGTERM)"


def table(statuses: list[Status]) -> str:
    """For the end of a help text."""
    return "\n".join(f"  {status.value:<4} {status.meaning}" for status in statuses)
