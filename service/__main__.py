"""The service's command line: python -m service serves, python -m service COMMAND --help."""

import sys

from contract.cli import running
from service.cli import PROGRAM, with_verb


def main(arguments: list[str] | None = None) -> int:
    """Run a verb, without one serve; returns the exit status."""
    return running.main(PROGRAM, with_verb(sys.argv[1:] if arguments is None else arguments))


def script() -> None:
    """The process of a command, which ends with its status."""
    sys.exit(main())


if __name__ == "__main__":
    script()
