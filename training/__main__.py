"""The trainer's command line: python -m training COMMAND --help."""

import os
import signal
import sys

from contract.cli import running
from contract.cli.statuses import Status
from training.cli import PROGRAM


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; returns the exit status."""
    # Before torch is imported: threads that spin while they wait take the cores from whatever else runs here.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    return running.main(PROGRAM, sys.argv[1:] if arguments is None else arguments)


def script() -> None:
    """The process of a command, which ends with its status; told to end (SIGTERM), it removes drafts on the way out."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(Status.TERMINATED))
    sys.exit(main())


if __name__ == "__main__":
    script()
