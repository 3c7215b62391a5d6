"""From a command line's arguments to its exit status."""

import argparse
import traceback
from pkgutil import resolve_name

from contract.cli.statuses import Status
from contract.cli.terminal import Colour, NobodyReads, tell, write_error, write_line
from contract.cli.verbs import Program, parser_of, refuse_unknown_options, refuse_unknown_verb


def main(program: Program, arguments: list[str]) -> int:
    """Run a verb. What fails is one line on standard error; a wrong command line and --help end by SystemExit."""
    try:
        return run(program, parse(program, arguments))
    except NobodyReads:
        return Status.NOBODY_READS
    except OSError as error:  # of --help
        return failed(program, error)


def parse(program: Program, arguments: list[str]) -> argparse.Namespace:
    """The options, with `verb` and the program that it is of."""
    prog = program.called
    refuse_unknown_verb(program, prog, arguments)
    options, unknown = parser_of(program, prog).parse_known_args(arguments)
    refuse_unknown_options(options.command, unknown)
    options.program = program
    return options


def run(program: Program, options: argparse.Namespace) -> Status:
    """Run the verb and tell its result, or what is wrong."""
    try:
        result = resolve_name(options.verb.run)(options)
        if result is not None:
            tell(result, as_json=options.json)
    except NobodyReads:
        raise
    except KeyboardInterrupt:
        write_line("interrupted: run the same command again to go on", Colour.YELLOW)
        return Status.INTERRUPTED
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        return failed(program, error)
    return Status.DONE


def failed(program: Program, error: Exception) -> Status:
    """Say the line of an error."""
    from contract.cli.faults import fault  # imports the stores' libraries, which --help does without

    status, line = fault(error, program.expected)
    write_error(line)
    return status
