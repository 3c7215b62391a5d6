"""From a command line's arguments to its exit status."""

import argparse
import sys
import traceback
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import TypeAlias

from contract.cli.result import Result
from contract.cli.statuses import Status
from contract.cli.terminal import Colour, NobodyReads, tell, write_error, write_line
from contract.cli.verbs import Program, parser_of, refuse_unknown_options, refuse_unknown_verb

Work: TypeAlias = Callable[[argparse.Namespace], Result | None]


def main(program: Program, arguments: list[str]) -> int:
    """Run a verb. What fails is one line on standard error; a wrong command line and --help end by SystemExit."""

    def work(options: argparse.Namespace) -> Result | None:
        result: Result | None = resolve_name(options.verb.run)(options)
        return result

    return execute(lambda: parse(program, arguments), work, program.expected)


def execute(
    read: Callable[[], argparse.Namespace], work: Work, expected: Mapping[type[Exception], Status] | None = None
) -> int:
    """Read the options, with `debug`, and do the work; `expected`: as a program has it."""
    try:
        return _run(read(), work, expected or {})
    except NobodyReads:
        return Status.NOBODY_READS
    except OSError as error:  # of --help
        return _failed(error, expected or {})


def parse(program: Program, arguments: list[str]) -> argparse.Namespace:
    """The options, with `verb` and the program that it is of."""
    prog = program.called
    refuse_unknown_verb(program, prog, arguments)
    options, unknown = parser_of(program, prog).parse_known_args(arguments)
    refuse_unknown_options(options.command, unknown)
    options.program = program
    return options


def _run(options: argparse.Namespace, work: Work, expected: Mapping[type[Exception], Status]) -> Status:
    try:
        result = work(options)
        if result is not None:
            tell(result, as_json=options.json)
    except NobodyReads:
        raise
    except KeyboardInterrupt:
        write_line("interrupted: run the same command again to go on", Colour.YELLOW)
        return Status.INTERRUPTED
    except Exception as error:
        if options.debug and sys.stderr is not None:
            traceback.print_exc()
        return _failed(error, expected)
    return Status.DONE


def _failed(error: Exception, expected: Mapping[type[Exception], Status]) -> Status:
    from contract.cli.faults import fault  # imports the stores' libraries, which --help does without

    status, line = fault(error, expected)
    write_error(line)
    return status
