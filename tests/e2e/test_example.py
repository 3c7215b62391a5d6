"""examples/own_pictures/README.md, done as it is told: from a folder of pictures to recommendations, and further."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.documents import Page, commands, curl_lines
from tests.processes import free_port, service_process
from training.synthesize.pictures import render

pytestmark = pytest.mark.timeout(600)

PAGE = Page(ROOT / "examples" / "own_pictures" / "README.md")
QUICK = ["--backbone", "tiny", "--dim", "16", "--text-dim", "8", "--word-dim", "8"]
"""What the page's trainings are told here besides."""
SERVE = "python -m service"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short enough for a unix socket, with a hundred small pictures of four kinds."""
    with tempfile.TemporaryDirectory(prefix="itr") as name:
        folder, rng = Path(name).resolve(), np.random.default_rng(0)
        topic_KV = np.linalg.qr(rng.standard_normal((8, 8)))[0][:4] * 2.3
        for number in range(100):
            kind = number % 4
            path = folder / "my-pictures" / f"kind {kind}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(render((topic_KV[kind] + 0.2 * rng.standard_normal(8)).clip(-2.3, 2.3), rng))
        yield folder


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    """As the page's export line has it, but in the folder."""
    (line,) = [line for line in shell() if line.startswith("export ")]
    told = dict(word.split("=") for word in shlex.split(line)[1:])
    assert set(told) == {"VAR_DIR", "MODELS_DIR"}
    kept = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL", "BLOB_URL")}
    return kept | {name: str(folder / value) for name, value in told.items()} | {"PORT": str(free_port())}


def shell() -> list[str]:
    """All lines of shell of the page, in order."""
    return [line for block in PAGE.blocks if block.language == "sh" for line in block.text.splitlines()]


def done(line: str, folder: Path, environment: dict[str, str], *more: str) -> str:
    """What a line of the page prints; its folders are the test's."""
    (words,) = commands(line)
    words = [str(folder / word) if word.startswith(("my-", "var/")) else word for word in words]
    words = words[1:] if words[0] == "python" else ["-m", *words]
    command = [sys.executable, *words, *more]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_page_leads_to_recommendations_and_further(folder: Path, environment: dict[str, str]) -> None:
    lines = shell()
    _, export, migrate, *work = lines[: lines.index(SERVE)]  # the first makes the environment that this test runs in
    assert export.startswith("export ")
    done(migrate, folder, environment)
    adopted, imported, retrained = (
        done(line, folder, environment, *(QUICK if " retrain " in line else ())) for line in work
    )
    assert "100 image tweets" in adopted
    assert "kind 0 (25), kind 1 (25), kind 2 (25), kind 3 (25)" in adopted
    assert "imported 60 new users" in imported
    assert "REJECTED" not in imported
    auc = {row[0]: float(row[3]) for line in retrained.splitlines() if len(row := line.split()) == 4}
    assert auc["amnl"] > auc["popularity"] + 0.1, retrained
    with service_process(environment, folder / "service.log") as running:
        (curl,) = curl_lines(PAGE)
        curl = curl.replace("http://127.0.0.1:8000", running.url)
        answer = json.loads(subprocess.run(shlex.split(curl), capture_output=True, check=True).stdout)
        assert (answer["source"], len(answer["items"])) == ("followees", 3)
        (attention,) = [line for line in lines if "attention.py" in line]
        told = done(attention, folder, environment, "--url", running.url)
        missing = [sys.executable, "examples/own_pictures/attention.py", "nobody", "--url", running.url]
        refused = subprocess.run(missing, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert "user_id nobody is not known" in refused.stderr
    shares = [float(share) for share in re.findall(r"^  u\d+ +#+ +([\d.]+) %$", told, re.MULTILINE)]
    assert len(shares) == 12
    assert sum(shares) == pytest.approx(100, abs=1)
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]
    assert [item["tweet_id"] for item in answer["items"]] == re.findall(r"^  (p\d+) +by u", told, re.MULTILINE)
    (compare,) = [line for line in lines if "compare_links.py" in line]
    versions = set((folder / "var/own/models").iterdir())
    told = done(compare, folder, environment, *QUICK)
    named = dict(re.findall(r"^(sum|product) +(\S+)$", told, re.MULTILINE))
    new = {path.name for path in set((folder / "var/own/models").iterdir()) - versions if path.name[0] != "."}
    assert set(named.values()) == new
    assert re.search(rf"{named['sum']} beside {named['product']}: AUC .* \([-+].* to [-+].*, \d+ users\)", told), told
