"""The tables of verbs of both command lines, and what is made of them."""

import argparse
import json
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from pkgutil import resolve_name

import pytest
from pydantic import BaseModel

import service.__main__
import service.cli
import training.__main__
import training.cli
from contract.cli.result import told_fields
from contract.cli.statuses import Status
from contract.cli.terminal import Colour, painted
from contract.cli.verbs import Program, Verb
from contract.release import NAME, release
from docs.generate.schemas import default_in_words
from tests.conftest import ROOT
from training.settings import Gate, TrainingSettings
from training.synthesize import SynthesisSettings

PROGRAMS = [training.cli.PROGRAM, service.cli.PROGRAM]
VERBS = [
    pytest.param(program, verb, id=f"{program.module} {verb.name}") for program in PROGRAMS for verb in program.verbs
]
MAINS = {"training": training.__main__.main, "service": service.__main__.main}
SEEDS = "argument --seeds: {} is no whole number of at least 1: HELP"
SPLIT = "argument --split: {} is no whole number from 1 to 99: HELP"
RATE = "argument --per-minute: {} is no whole number of at least 1: HELP"
PARSERS = {"training": training.cli.parser, "service": service.cli.parser}


def help_of(program: Program, verb: Verb, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        MAINS[program.module]([*verb.name.split(), "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(("program", "verb"), VERBS)
def test_the_examples_of_a_verb_are_command_lines_of_it(program: Program, verb: Verb) -> None:
    parser = PARSERS[program.module]()
    assert 1 <= len(verb.examples) <= 3
    for example in verb.examples:
        options = parser.parse_args(shlex.split(example) or ["serve"])
        assert options.verb == verb
        assert callable(resolve_name(options.verb.run))


@pytest.mark.parametrize(("program", "verb"), VERBS)
def test_the_help_of_a_verb_says_all_of_it(
    program: Program, verb: Verb, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    said = help_of(program, verb, capsys)
    assert verb.help[1:] in said
    for example in verb.examples:
        assert f"  python -m {program.module} {example}".rstrip() + "\n" in said
    for status in {*Status} - {Status.GATE_CLOSED} | {*verb.statuses}:
        assert f"  {status.value:<4} {status.meaning}\n" in said
    if verb.result is not None:
        for name, meaning in told_fields(verb.result).items():
            assert meaning, name
            assert f"  {meaning}\n" in said.partition("fields with --json")[2]


@pytest.mark.parametrize(("program", "verb"), VERBS)
def test_every_option_is_described_with_its_default(program: Program, verb: Verb) -> None:
    command = PARSERS[program.module]().parse_args(shlex.split(verb.examples[0]) or ["serve"]).command
    for action in command._actions:
        assert action.help
        if not action.required and action.nargs not in (0, "?") and not isinstance(action, argparse._HelpAction):
            assert "default: " in action.help or "needed with" in action.help or action.dest == "out", action


@pytest.mark.parametrize("module", ["training", "service"])
def test_help_imports_nothing_heavy(module: str) -> None:
    script = (
        f"import json, sys; from {module}.__main__ import main\n"
        "try: main(['--help'])\n"
        "finally: print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    assert "contract.cli.verbs" in imported
    assert not imported & {"torch", "pyarrow", "sqlalchemy", "redis", "onnxruntime", "scipy", "fastapi", "shtab"}


@pytest.mark.parametrize("program", PROGRAMS, ids=["training", "service"])
def test_the_help_of_a_program_lists_its_verbs_and_statuses(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        MAINS[program.module](["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(f"    {verb.name.split()[0]}" in said for verb in program.verbs)
    assert "exit statuses:\n  0    done\n" in said
    assert ("\n  3    " in said) == (program.module == "training")


@pytest.mark.parametrize("module", ["training", "service"])
def test_the_version_is_told(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        MAINS[module](["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"{NAME} {release()}\n")


def test_installed_commands_are_those_that_completion_binds_to() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert set(scripts) == {program.script for program in PROGRAMS}
    for program in PROGRAMS:
        assert scripts[program.script] == f"{program.module}.__main__:script"
        assert callable(resolve_name(scripts[program.script]))


def test_an_installed_command_names_itself(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/image-tweets-training", "models"])
    with pytest.raises(SystemExit, match="2"):
        training.__main__.main()
    assert capsys.readouterr().err.endswith(": see `image-tweets-training models --help`\n")


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("training", "", "the following arguments are required: COMMAND: HELP"),
        ("training", "retrian", "retrian is no command: did you mean retrain?"),
        ("training", "frobnicate", "frobnicate is no command: HELP"),
        ("training", "models lits", "models lits is no command: did you mean list?"),
        ("training models", "models", "the following arguments are required: ACTION: HELP"),
        ("training retrain", "retrain --epcohs 3", "--epcohs is no option of `THIS`: did you mean --epochs?"),
        ("training retrain", "retrain --epoch 3", "--epoch is no option of `THIS`: did you mean --epochs?"),
        ("training retrain", "retrain --zzz=3", "--zzz is no option of `THIS`: HELP"),
        ("training demo", "demo a b", "b is one argument too many for `THIS`: HELP"),
        ("training import", "import", "the following arguments are required: FOLDER: HELP"),
        ("training models list", "--json models list", "--json stands before the command: put it behind `THIS`"),
        ("service", "key list", "key is no command: did you mean keys?"),
        ("service", "keys lsit", "keys lsit is no command: did you mean list?"),
        ("service keys create", "keys create", "the following arguments are required: NAME: HELP"),
        ("service serve", "serve --port 1", "--port is no option of `THIS`: HELP"),
        ("service serve", "--port=1", "--port is no option of `THIS`: HELP"),
        ("training evaluate", "evaluate --data x --seeds abc", SEEDS.format("abc")),
        ("training evaluate", "evaluate --data x --seeds 0", SEEDS.format("0")),
        ("training evaluate", "evaluate --data x --split abc", SPLIT.format("abc")),
        ("training evaluate", "evaluate --data x --split 100", SPLIT.format("100")),
        ("training adopt", "adopt a b --people abc", "argument --people: abc is no whole number of at least 1: HELP"),
        ("training adopt", "adopt a b --seed -1", "argument --seed: -1 is no whole number of at least 0: HELP"),
        ("service keys create", "keys create x --per-minute abc", RATE.format("abc")),
        ("service keys create", "keys create x --per-minute 0", RATE.format("0")),
    ],
)
def test_a_wrong_command_line_is_one_line_with_the_fix(
    command: str, arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    this = f"python -m {command}"
    with pytest.raises(SystemExit) as ended:
        MAINS[command.split()[0]](arguments.split())
    assert ended.value.code == 2
    expected = said.replace("HELP", f"see `{this} --help`").replace("THIS", this)
    assert capsys.readouterr() == ("", f"error: {expected}\n")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["retrain", "--dim", "0"], "--dim"),
        (["retrain", "--epochs", "many"], "--epochs"),
        (["retrain", "--worse-by", "-1"], "--worse-by"),
        (["synthesize", "new", "--users", "3"], "--users"),
        (["models", "trial", "v1"], "VERSION --share"),
        (["models", "trial", "--share", ".1"], "VERSION --share"),
    ],
)
def test_a_value_that_cannot_be_is_a_wrong_command_line(
    arguments: list[str],
    option: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert training.__main__.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert option in error
    assert error.endswith(f": see `python -m training {arguments[0]} --help`\n") or arguments[0] == "models"
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "x", "--scopes", "foo"], "scopes foo: give some of read, write, admin"),
        (["create", "x", "--scopes", ""], "scopes none: give some of read, write, admin"),
        (["create", ""], "name: give 1 to 64 printable characters"),
    ],
)
def test_a_key_that_cannot_be_is_a_wrong_command_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")  # not opened for it
    assert service.__main__.main(["keys", *arguments]) == 2
    assert capsys.readouterr() == ("", f"error: {said}\n")


@pytest.mark.parametrize(
    ("arguments", "completed"),
    [
        ([], ["serve"]),
        (["--debug"], ["serve", "--debug"]),
        (["--help"], ["--help"]),
        (["--version"], ["--version"]),
        (["--debug", "keys", "list"], ["--debug", "keys", "list"]),
    ],
)
def test_the_service_serves_where_no_verb_stands(arguments: list[str], completed: list[str]) -> None:
    assert service.cli.with_verb(arguments) == completed


@pytest.mark.parametrize("verb", ["retrain", "synthesize"])
def test_settings_have_the_same_defaults_in_the_help_as_in_the_pages(verb: str) -> None:
    command = PARSERS["training"]().parse_args([verb, *(["x"] if verb == "synthesize" else [])]).command
    models: list[type[BaseModel]] = [TrainingSettings, Gate] if verb == "retrain" else [SynthesisSettings]
    fields = {name: field for model in models for name, field in model.model_json_schema()["properties"].items()}
    said = {action.dest: action.help or "" for action in command._actions if action.default is argparse.SUPPRESS}
    assert set(fields) - set(said) <= {"force"}
    for name in set(fields) & set(said):
        assert said[name].endswith(f"(default: {default_in_words(fields[name]).strip('`')})")


@pytest.mark.parametrize(
    ("terminal", "environment", "coloured"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {"TERM": "xterm"}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    terminal: bool, environment: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert painted("done", Colour.GREEN, sys.stdout) == ("\x1b[32mdone\x1b[0m" if coloured else "done")
