"""The pages say what is so: links lead somewhere, code is code, commands are those that there are."""

import argparse
import ast
import configparser
import csv
import json
import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are not installed for one file
from alembic.config import CommandLine
from torch.distributed.run import get_args_parser as torch_parser

from contract.migrate import parser as migrate_parser
from docs.generate import DOCS
from docs.generate import PAGES as GENERATED
from docs.generate.commands import subcommands
from service.cli import parser as service_parser
from service.metrics import Metrics
from service.settings import Settings
from tests.conftest import ROOT
from tests.documents import PAGES, Page, commands
from training.cli import parser as training_parser

CURRENT = [page for page in PAGES if not page.is_history]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
OTHERS = {"cd", "set", ".", "export", "unset", "pip", ".venv/bin/pip", "PEERS/bin/pip", "curl", "systemctl", "ray"}
"""Commands of others."""

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
every_current_page = pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)


@cache
def anchors(path: Path) -> set[str]:
    return set(Page(path).anchors)


@every_page
def test_links_lead_somewhere(page: Page) -> None:
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme in ("http", "https"), link
            assert re.fullmatch(r"[\w.-]+(:\d+)?", parts.netloc), link
            continue
        target = page.path if not parts.path else (page.path.parent / parts.path).resolve()
        assert target.exists(), f"{page.name}: {link} does not exist"
        assert target.is_relative_to(ROOT), link
        if parts.fragment:
            assert parts.fragment in anchors(target), f"{page.name}: {link}: no such heading"


@every_current_page
def test_files_that_are_named_exist(page: Page) -> None:
    for code in page.code:
        if re.fullmatch(r"(alembic|benchmarks|contract|docs|service|tests|training)/[\w./]+\.\w+", code):
            assert (ROOT / code).exists(), f"{page.name}: {code}"


@every_page
def test_functions_that_are_named_exist(page: Page) -> None:
    for name, target in page.references:
        if target.endswith(".py"):
            module = ast.parse((page.path.parent / target).read_text("utf-8"))
            assert name in {getattr(node, "name", "") for node in ast.walk(module)}, f"{page.name}: {name} of {target}"


@pytest.mark.parametrize("name", GENERATED)
def test_generated_pages_are_current(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == GENERATED[name](), f"docs/{name} is not current: run `make docs`"


@every_page
def test_blocks_of_code_are_what_they_say(page: Page) -> None:
    for block in page.blocks:
        assert block.language in READERS, f"{page.name}:{block.line}: of which language?"
        try:
            READERS[block.language](block.text)
        except Exception as error:
            raise AssertionError(f"{page.name}:{block.line}: {error}") from error


def read_json(text: str) -> None:
    """One value, or one a line."""
    try:
        json.loads(text)
    except json.JSONDecodeError:
        for line in text.splitlines():
            json.loads(line)


def read_csv(text: str) -> None:
    header, *rows = csv.reader(text.splitlines(), strict=True)
    assert all(len(row) == len(header) for row in rows)


def read_shell(text: str) -> None:
    for words in commands(text):
        check_command(words)


def read_indented(text: str) -> None:
    """Of pages that are no more than written by a program, and a line of cron's."""
    for line in text.splitlines():
        if re.match(r"(python3?|make|docker|alembic|0 3 \* \* \*) \S", line):
            read_shell(line.removeprefix("0 3 * * * "))


READERS: dict[str, Callable[[str], Any]] = {
    "json": read_json,
    "python": lambda text: compile(text, "block", "exec"),
    "yaml": yaml.safe_load,
    "toml": tomllib.loads,
    "ini": lambda text: configparser.ConfigParser(interpolation=None).read_string(text),
    "csv": read_csv,
    "sh": read_shell,
    "code_block": read_indented,
    "nginx": str,
    "text": str,
}


def check_command(words: list[str]) -> None:
    """Its own command line takes it; raises AssertionError."""
    match [Path(words[0]).name if words[0].endswith(("/python", "/alembic")) else words[0], *words[1:]]:
        case ["python" | "python3", "-m", "training", *arguments]:
            parse(training_parser(), arguments)
        case ["docker", "compose", "run", "--rm", "retrain", *arguments]:
            parse(training_parser(), arguments or ["retrain"])
        case ["torchrun", *rest]:
            torch_parser().parse_args(rest)
            parse(training_parser(), rest[rest.index("training") + 1 :])
        case ["python" | "python3", "-m", "service", *arguments]:
            parse(service_parser(), arguments or ["serve"])
        case ["python" | "python3", "-m", "contract.migrate", *arguments]:
            parse(migrate_parser(), arguments)
        case ["python" | "python3", "-m", "venv" | "docs.generate" | "build", *_]:
            pass
        case ["python" | "python3", "-m", module, *_] if module.startswith(("benchmarks", "contract.")):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
        case ["python" | "python3", "make_dataset.py"]:
            pass
        case ["python" | "python3", script, *_] if script.startswith("examples/"):
            assert (ROOT / script).exists(), script
        case ["alembic", *arguments]:
            parse(CommandLine().parser, arguments)
        case ["make", *arguments]:
            targets = {argument for argument in arguments if "=" not in argument}
            assert targets <= TARGETS, f"make has no {targets - TARGETS}"
        case ["docker", "compose", *arguments]:
            services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
            profiles = {name for service in services.values() for name in service.get("profiles", [])}
            assert "--profile" not in arguments or arguments[arguments.index("--profile") + 1] in profiles
        case [name, *_]:
            assert name in OTHERS, f"{name}: what is it?"


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    words = arguments[: arguments.index(">>")] if ">>" in arguments else arguments
    try:
        parser.parse_args(words)
    except SystemExit as ended:
        if ended.code:
            raise AssertionError(f"{parser.prog} does not take {' '.join(words)}") from ended


@every_current_page
def test_commands_within_lines_are_those_that_there_are(page: Page) -> None:
    """What such a command needs may be left out."""
    for code in page.code:
        match code.split():
            case ["python", "-m", "training", *arguments]:
                check_name(training_parser(), arguments)
            case ["python", "-m", "service", *arguments]:
                check_name(service_parser(), arguments)
            case ["python", "-m", _, *_] | ["make" | "alembic", _, *_]:
                read_shell(code)


def check_name(parser: argparse.ArgumentParser, words: list[str]) -> None:
    while (children := subcommands(parser)) and words and words != ["..."]:
        assert words[0] in children, f"{parser.prog} has no {words[0]}"
        parser, words = children[words[0]], words[1:]
    for word in words:
        assert not word.startswith("--") or word in parser._option_string_actions, f"{parser.prog} has no {word}"


@every_current_page
def test_variables_are_those_that_are_read(page: Page) -> None:
    """What is set is a setting; what is named only may be a constant of the code, too."""
    known = {name.upper() for name in Settings.model_fields} | capitals("Makefile", "compose.yaml")
    shell = "\n".join(block.text for block in page.blocks if block.language == "sh")
    set_ones = re.findall(r"^(?:export )?([A-Z][A-Z_]+)=", "\n".join([shell, *page.code]), re.MULTILINE)
    assert not [name for name in set_ones if name not in known], "no setting, and nothing of Makefile or compose.yaml"
    arguments = {"KEY_ID"}
    named = [code for code in page.code if re.fullmatch("[A-Z]+(_[A-Z]+)+", code) and code not in arguments]
    assert not [
        name for name in named if name not in known | capitals("contract/**/*.py", "service/**/*.py", "tests/*.py")
    ]


@cache
def capitals(*patterns: str) -> set[str]:
    texts = [path.read_text("utf-8") for pattern in patterns for path in ROOT.glob(pattern)]
    return set(re.findall(r"[A-Z][A-Z_]+", "\n".join(texts)))


def test_every_variable_is_on_the_page_of_the_configuration() -> None:
    page = (DOCS / "configuration.md").read_text("utf-8")
    assert [name for name in Settings.model_fields if f"| `{name.upper()}` |" not in page] == []


def test_every_route_is_on_the_page_with_a_line_of_curl() -> None:
    page = Page(DOCS / "http.md")
    routes = [code for code in page.code if re.match("(GET|POST|PUT|DELETE) /", code)]
    lines = [words for block in page.blocks for words in commands(block.text)]
    assert len(set(routes)) == len(lines) > 25
    assert all(words[:2] == ["curl", "-s"] for words in lines)


def test_metrics_that_are_to_be_watched_exist() -> None:
    text = Metrics().text().decode()
    table = (DOCS / "production.md").read_text("utf-8").partition("| Metric |")[2].partition("\n\n")[0]
    names = re.findall(r"`([a-z_]+)`", "\n".join(line.split("|")[1] for line in table.splitlines()[2:]))
    assert len(names) > 5
    assert [name for name in names if f"# HELP {name} " not in text] == []


@pytest.mark.parametrize(
    ("heading", "module", "function"),
    [
        ("Post a tweet", "service/ingest.py", "ingest"),
        ("Recommend", "service/recommend.py", "recommend"),
        ("Retrain", "training/retrain.py", "retrain"),
        ("`train_and_export`", "training/retrain.py", "train_and_export"),
    ],
)
def test_flows_are_told_in_the_order_of_the_code(heading: str, module: str, function: str) -> None:
    page = (DOCS / "architecture.md").read_text("utf-8")
    table = re.split(rf"^(?:### |\[){re.escape(heading)}.*$", page, flags=re.MULTILINE)[1].partition("| --- |")[2]
    told = re.findall(r"^\| \[`(\w+)`\]", table.partition("\n\n")[0], re.MULTILINE)
    tree = ast.parse((ROOT / module).read_text("utf-8"))
    body = next(node for node in ast.walk(tree) if getattr(node, "name", "") == function)
    named = [node for node in ast.walk(body) if isinstance(node, ast.Name | ast.Attribute)]
    named.sort(key=lambda node: (node.end_lineno or 0, node.end_col_offset or 0))
    called = iter([node.id if isinstance(node, ast.Name) else node.attr for node in named])
    assert len(told) > 5
    for name in told:
        assert name in called, f"{function} does not call {name} after what the page tells before it"
