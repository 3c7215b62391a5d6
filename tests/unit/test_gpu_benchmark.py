"""The benchmark of the card, as far as it runs without one: all its parts at the least sizes on the CPU."""

import json
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import gpu, gpu_encoder, gpu_ranking
from benchmarks.gpu_card import CUDA, Card, Effort, Skipped, why_no_card, why_not
from benchmarks.gpu_models import ConvReLU, encoder_graph, flops_each, fuse
from benchmarks.gpu_ranking import best_of_block, check, rank_all
from benchmarks.results import Result

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = Card("cpu", Effort(quick=True, seconds=0.005, rounds=2))
NO_BF16 = "could not create a primitive descriptor"
"""oneDNN's words where a CPU does not train in bf16."""
QUICK = {name: part for name, part in gpu.PARTS.items() if name not in ("encoder", "posting")}
without_card = pytest.mark.skipif(why_no_card() is None, reason="there is a card")


@pytest.mark.parametrize("name", QUICK)
def test_a_part_measures_all_that_it_is_to(name: str) -> None:
    rows = list(gpu.rows_of(QUICK[name], TINY))
    rows = [row for row in rows if isinstance(row, Result) or NO_BF16 not in row.why]
    assert rows
    for row in rows:
        assert isinstance(row, Result), row
        assert row.value > 0
        assert row.machine.startswith("cpu; ")


def test_the_encoder_has_a_row_by_runtime_and_batch_and_says_what_does_not_load() -> None:
    sizes = gpu_encoder.Sizes([("tiny", "fp16")], [4, 1], "eager")
    rows = list(gpu_encoder.measure_encoder(TINY, sizes))
    runtimes = ["torch eager", "torch, fused by cuDNN", "torch.compile", "ONNX Runtime"]
    measured = {row.name: row for row in rows if isinstance(row, Result)}
    for runtime in runtimes:
        for batch in sizes.batches:
            assert "z off by" in measured[f"tiny fp16, batch {batch}, {runtime}"].against
        assert any(name.startswith(f"tiny fp16, {runtime}, at its best batch") for name in measured)
    skipped = {row.what: row.why for row in rows if isinstance(row, Skipped)}
    if why_not(CUDA):
        assert set(skipped) == {"tiny fp16, ONNX Runtime, channels last", "tiny fp16, TensorRT"}
    assert all(skipped.values())


@without_card
@pytest.mark.parametrize("name", gpu.PARTS)
def test_without_a_card_no_part_falls_back_to_the_cpu(name: str, tmp_path: Path) -> None:
    gpu.measure_here(name, Card("cuda", Effort(quick=True, seconds=0.005, rounds=1)), tmp_path / "rows")
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text("utf-8").splitlines()]
    assert rows
    assert all(row["why"] for row in rows)


@without_card
@pytest.mark.parametrize(("asked", "code"), [([], 0), (["--device", "cuda"], 1)])
def test_without_a_card_the_script_says_so_in_a_line(
    asked: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", *asked])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == code
    said = capsys.readouterr().out
    assert said.startswith("no GPU to measure: ")
    assert said.count("\n") == 1


def test_a_part_that_is_cut_off_keeps_what_it_had_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_TO_CLEAN_UP", 1.0)
    started = time.monotonic()
    rows = gpu.rows_within(["--parts", "ranking", "--device", "cpu", "--seconds", "60"], "Ranking", 1.5)
    assert rows[-1] == {"what": "Ranking", "why": "ended after 0 s: what is there was measured before"}
    assert time.monotonic() - started < 10
    assert gpu.rows_within([], "Ranking", 0.5) == [{"what": "Ranking", "why": "no time was left"}]


def test_rows_are_printed_and_written_part_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = TINY.row("speed", 2.0, "of the peak", "a product", (">=", 1))

    def told(_told: list[str], title: str, _seconds: float) -> list[dict[str, object]]:
        return [vars(figure), {"what": title, "why": "no time was left"}]

    monkeypatch.setattr(gpu, "rows_within", told)
    sections = gpu.measured(["card", "ranking"], "cpu", True, 0.1, tmp_path)
    next(sections)
    (kept, skipped) = json.loads((tmp_path / "gpu.json").read_text("utf-8"))
    assert kept == {"part": "card", **vars(figure)}
    assert skipped == {"part": "card", "what": "The card", "why": "no time was left"}
    assert next(sections).results == [figure]
    page = (tmp_path / "gpu.md").read_text("utf-8")
    assert page.count("| no time was left |") == 2
    assert page.count("| speed | 2 | of the peak | >= 1 | yes | a product |") == 4
    assert "## Ranking many users at once" in capsys.readouterr().out


def test_the_best_of_all_are_found_block_by_block() -> None:
    direction_2UD, z_TD = torch.randn(2, 5, 16).half(), torch.randn(400, 16).half()
    found = rank_all(direction_2UD, z_TD, 200, partial(best_of_block, group=20))
    check(found, direction_2UD, z_TD, users=5)
    score_UK, number_UK = found
    number_UK[3, 2] = int((direction_2UD[:, 3].float().sum(0) @ z_TD.float().T).argmin())
    with pytest.raises(ValueError, match="not those"):
        check((score_UK, number_UK), direction_2UD, z_TD, users=5)


def test_sizes_of_ranking_divide() -> None:
    for sizes in (gpu_ranking.FULL, gpu_ranking.QUICK):
        for block in sizes.blocks:
            assert sizes.tweets % block == 0
            assert block % sizes.group == 0
            assert block // sizes.group >= gpu_ranking.BEST


def test_fused_convolutions_give_the_same() -> None:
    body = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)), nn.ReLU())
    x_BCHW = torch.randn(2, 3, 6, 6)
    expected = body(x_BCHW)
    assert fuse(body) == 1
    assert [type(module) for module in body[0].children()] == [ConvReLU, nn.Identity, nn.Conv2d]
    assert torch.equal(body(x_BCHW), expected)


def test_operations_are_those_of_a_convolution_and_the_products() -> None:
    convolution, fc, to_z = 2 * 12 * 14 * 14 * 3 * 5 * 5, 2 * 192 * 48, 2 * 48 * 400
    without_words = convolution + fc + to_z
    assert without_words < flops_each(encoder_graph("tiny")) < 3 * without_words
