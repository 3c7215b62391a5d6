"""The service's command line: python -m service serves, python -m service COMMAND --help."""

import sys

from contract.cli import running
from service.cli import PROGRAM


def main(arguments: list[str] | None = None) -> int:
    """Run a verb, without one serve; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    return running.main(PROGRAM, given or ["serve"])


def script() -> None:
    """The process of a command, which ends with its status."""
    sys.exit(main())


if __name__ == "__main__":
    script()
