"""Scripts by which shells complete a program's verbs, options, files and versions; shtab makes them from its parser."""

import argparse
from collections.abc import Iterator

from pydantic import Field

from contract.cli.result import Result
from contract.cli.verbs import Verb, parser_of

SHELLS = ("bash", "zsh", "fish")

_VERSIONS_IN_FISH = "(ls (set -q MODELS_DIR; and echo $MODELS_DIR; or echo exported_models) 2>/dev/null)"


class Script(Result):
    """For a shell to read."""

    shell: str = Field(description="which reads it")
    script: str = Field(description="its text")

    def table(self) -> list[str]:
        """The script alone."""
        return [self.script]


def completion_verb(script: str) -> Verb:
    """The verb of a program that is installed as `script`."""
    return Verb(
        name="completion",
        help="print a script that completes commands, options and files in a shell",
        run="contract.cli.completion:print_script",
        examples=tuple(f"completion {shell}" for shell in SHELLS),
        options=_options,
        result=Script,
        more=f"""It completes the installed command, {script}. To have it in every shell:
  bash  echo 'eval "$({script} completion bash)"' >> ~/.bashrc
  zsh   {script} completion zsh > FOLDER/_{script}, with a FOLDER of $fpath
  fish  {script} completion fish > ~/.config/fish/completions/{script}.fish""",
    )


def print_script(options: argparse.Namespace) -> Script:
    """What shtab makes."""
    import shtab

    parser = parser_of(options.program, options.program.script)
    versions = shtab.cmd('ls "${MODELS_DIR:-exported_models}" 2>/dev/null') | {"fish": _VERSIONS_IN_FISH}
    by_metavar = {"FOLDER": shtab.DIRECTORY, "PLACE": shtab.DIRECTORY, "FILE": shtab.FILE, "VERSION": versions}
    for action in _actions(parser):
        if action.metavar in by_metavar:
            action.complete = by_metavar[action.metavar]  # type: ignore[attr-defined]  # where shtab looks for it
    return Script(shell=options.shell, script=shtab.complete(parser, options.shell))


def _options(command: argparse.ArgumentParser) -> None:
    command.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # argparse has no public list of them
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
