"""The trainer's command line: python -m training COMMAND --help."""

import os
import signal
import sys

from contract.cli import running
from contract.cli.statuses import Status
from contract.cli.terminal import write_error
from training.cli import PROGRAM

BY_SEVERAL = "retrain"
"""The one verb for several processes of one torchrun: others would be done as often as there are processes."""


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; returns the exit status."""
    # Before torch is imported: threads that spin while they wait take the cores from whatever else runs here.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    arguments = sys.argv[1:] if arguments is None else arguments
    several = "TORCHELASTIC_RUN_ID" in os.environ and os.environ["WORLD_SIZE"] != "1"
    if several and arguments[:1] != [BY_SEVERAL]:
        if os.environ["RANK"] == "0":
            write_error(f"several processes can {BY_SEVERAL} and nothing else: run this without torchrun")
        return Status.USAGE
    return running.main(PROGRAM, arguments)


def script() -> None:
    """The process of a command, which ends with its status; told to end (SIGTERM), it removes drafts on the way out."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(Status.TERMINATED))
    sys.exit(main())


if __name__ == "__main__":
    script()
