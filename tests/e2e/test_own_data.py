"""docs/bring-your-own-data.md, done as it is told: from photographs and two lists to recommendations."""

import csv
import json
import os
import random
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.documents import Page, commands, curl_lines
from tests.processes import free_port, service_process
from training.synthesize.pictures import VISUAL_TOPICS, render

pytestmark = pytest.mark.timeout(600)

PEOPLE = ["ada", "bob", "cy", "dee", "eve", "fay", "gus", "hal"]
PAGE = Page(ROOT / "docs" / "bring-your-own-data.md")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a unix socket, with photographs of people who follow and retweeted one another."""
    with tempfile.TemporaryDirectory(prefix="itr") as name:
        folder = Path(name).resolve()
        write_photographs(folder)
        yield folder


def write_photographs(folder: Path) -> None:
    draw, numbers = random.Random(0), np.random.default_rng(0)
    follows, retweets = [], []
    for person in PEOPLE:
        others = [other for other in PEOPLE if other != person]
        follows += [(person, other) for other in draw.sample(others, 4)]
        (folder / "photos" / person).mkdir(parents=True)
        for number in range(4):
            name = f"{person}/picture {number}.jpg"
            at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=draw.randrange(50_000))
            (folder / "photos" / name).write_bytes(render(numbers.normal(size=len(VISUAL_TOPICS)), numbers))
            os.utime(folder / "photos" / name, (at.timestamp(), at.timestamp()))
            for other in draw.sample(others, 3):
                retweets.append((other, name, (at + timedelta(minutes=draw.randrange(1, 1_000))).isoformat()))
    for name, rows in (("follows", follows), ("retweets", retweets)):
        fields = next(block.text for block in PAGE.blocks if block.language == "csv" and is_of(name, block.text))
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([fields.splitlines()[0].split(","), *rows])


def is_of(name: str, text: str) -> bool:
    return text.startswith({"follows": "follower_id", "retweets": "user_id"}[name])


def test_the_page_leads_to_recommendations(folder: Path) -> None:
    (program,) = [block.text for block in PAGE.blocks if block.language == "python"]
    (folder / "make_dataset.py").write_text(program, "utf-8")
    subprocess.run([sys.executable, "make_dataset.py"], cwd=folder, check=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    environment |= {"VAR_DIR": str(folder / "var"), "MODELS_DIR": str(folder / "models"), "PORT": str(free_port())}
    (steps,) = [block.text for block in PAGE.blocks if block.language == "sh" and "import" in block.text]
    _, *work, serve = steps.splitlines()  # the first makes the environment that this test runs in
    assert serve == "python -m service"
    for words in (words for line in work for words in commands(line)):
        words = [str(folder / word) if word == "my-data" else word for word in words]
        module = words[2:] if words[:2] == ["python", "-m"] else words
        done = subprocess.run(
            [sys.executable, "-m", *module], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "REJECTED" not in done.stdout
    with service_process(environment, folder / "service.log") as running:
        (line,) = curl_lines(PAGE)
        line = re.sub("http://127.0.0.1:8000", running.url, line)
        answer = json.loads(subprocess.run(shlex.split(line), capture_output=True, check=True).stdout)
    assert answer["source"] == "followees"
    assert len(answer["items"]) == 3
