"""What each of several processes does, computed here by one after another: together it is what one does."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore
from torch.distributed.checkpoint.state_dict_saver import save

import training.sharded
from contract.cli.statuses import Status
from contract.progress import silent
from tests.problems import checkerboard
from training.__main__ import main
from training.checkpoints import _read as read_parts
from training.checkpoints import of_parts
from training.errors import CheckpointFailed, InputRejected
from training.model import Amnl
from training.problem import Problem
from training.processes import Processes, of_torchrun
from training.retention import VERSION
from training.retrain import Task
from training.sampling import TripleSampler, triple_sampler
from training.settings import Attention, TrainingSettings
from training.sharded import _drawn as drawn
from training.train import Trainee, schedule
from training.trainer import Objective, dense_gradients, train

SETTINGS = TrainingSettings(
    dim=6, text_dim=5, word_dim=4, init_std=0.5, l2=0.05, negatives=3, batch=37, epochs=2, residual=True, item_bias=True
)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return checkerboard(0, users=24, tweets=30, followees=5)


def sampler_of(problem: Problem) -> TripleSampler:
    return triple_sampler(problem, "uniform")


def trainee(problem: Problem, attention: Attention = "mean") -> Trainee:
    torch.manual_seed(0)
    settings = SETTINGS.model_copy(update={"attention": attention})
    model = Amnl(problem, settings)
    for table in (model.residual, model.item_bias):
        assert table is not None
        nn.init.normal_(table.weight, std=0.5)
    return Trainee(model, problem, settings, problem.with_followees(sampler_of(problem).user_P))


def loss_and_gradients(made: Trainee, processes: Processes, triples: int) -> tuple[float, dict[str, Tensor]]:
    """Of the first triples of an epoch."""
    batch = next(sampler_of(made.problem).batches(triples, 3, 0, 0))
    made.zero_grad()
    loss, descended = Objective(made, schedule(made.settings), processes)(*batch)
    descended.backward()
    gradients = {name: parameter.grad for name, parameter in made.named_parameters()}
    return loss.item(), {name: value.to_dense().clone() for name, value in gradients.items() if value is not None}


@pytest.mark.parametrize("attention", ["mean", "paper"])
@pytest.mark.parametrize(("world", "triples"), [(2, 37), (4, 37), (4, 3)])
def test_the_mean_of_the_gradients_is_that_of_one_process(
    problem: Problem, attention: Attention, world: int, triples: int
) -> None:
    """Also where a batch cannot be divided, and where there are fewer triples than processes; L2 is not small here."""
    made = trainee(problem, attention)
    loss, gradients = loss_and_gradients(made, Processes(), triples)
    parts = [loss_and_gradients(made, Processes(rank, world), triples) for rank in range(world)]
    assert sum(part for part, _ in parts) == pytest.approx(loss, rel=1e-5)
    assert len(gradients) == len([*made.parameters()])
    for name, expected in gradients.items():
        mean = torch.stack([of_rank[name] for _, of_rank in parts]).mean(dim=0)
        assert mean.numpy() == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-6), name


def test_a_share_s_penalty_is_less_than_what_it_touches(problem: Problem) -> None:
    """Else the test above would say nothing of rows that two shares touch."""
    made = trainee(problem)
    batch = next(sampler_of(problem).batches(37, 3, 0, 0))
    shares = [tuple(column[share] for column in batch) for share in Processes(0, 2).shares(37)]
    apart = [made.pairs(*share).penalty.item() for share in shares]
    together = [made.pairs_of(shares, own).penalty.item() for own in range(2)]  # type: ignore[arg-type]
    assert sum(together) == pytest.approx(made.pairs(*batch).penalty.item(), rel=1e-5)
    assert sum(apart) > 1.5 * sum(together)


def test_dense_gradients_teach_what_sparse_ones_do(problem: Problem) -> None:
    """nccl adds up no sparse ones."""
    sparse, dense = trainee(problem), trainee(problem)
    dense_gradients(dense)
    for made, layout in ((sparse, torch.sparse_coo), (dense, torch.strided)):
        train(made, sampler_of(problem), problem.validation, schedule(SETTINGS), silent, "test")
        gradient = made.model.user_vectors.weight.grad
        assert gradient is not None
        assert gradient.layout == layout
    for name, expected in sparse.state_dict().items():
        assert dense.state_dict()[name].numpy() == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize(("count", "world"), [(7, 3), (2, 4), (1, 2), (8, 4)])
def test_shares_are_all_and_each_once(count: int, world: int) -> None:
    shares = Processes(0, world).shares(count)
    counts = [Processes(rank, world).count(count) for rank in range(world)]
    assert sum(counts) == count
    assert max(counts) - min(counts) <= 1
    own = [share[:some] for share, some in zip(shares, counts, strict=True)]
    assert np.concatenate(own).tolist() == [*range(count)]
    assert all(len(share) for share in shares)


@pytest.mark.parametrize("world", [1, 2, 5, 100])
def test_scores_of_shares_are_the_scores(problem: Problem, world: int) -> None:
    made, lists = trainee(problem).eval(), problem.validation
    shares = Processes(0, world).shares(len(lists.user_L))
    parts = [
        made.score(lists.some(share))
        for rank, share in enumerate(shares)
        if Processes(rank, world).count(len(lists.user_L))
    ]
    assert np.concatenate(parts) == pytest.approx(made.score(lists), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("rows", "dim"), [(1, 3), (31, 3), (64, 16), (100, 5), (200, 7)])
def test_vectors_drawn_in_pieces_are_those_drawn_at_once(rows: int, dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.sharded, "_ROWS_AT_ONCE", 32)
    torch.manual_seed(3)
    whole = nn.init.normal_(torch.empty(rows, dim), std=0.3)
    next_draw = torch.rand(1)
    torch.manual_seed(3)
    pieces = [*drawn(rows, dim, 0.3)]
    assert torch.equal(torch.cat([piece for _, piece in pieces]), whole)
    assert torch.equal(torch.rand(1), next_draw)
    assert len(pieces) == max(1, rows // 32)


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    output, said = capsys.readouterr()
    assert output == ""
    (line,) = said.splitlines()
    return line


def test_sharding_needs_torchrun(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrain", "--shard-users"]) == 2
    assert one_error(capsys).startswith("error: --shard-users: start it by torchrun, as `torchrun ")


def test_a_gpu_that_is_not_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main(["retrain", "--device", "cuda"]) == 1
    assert "of 1 GPUs on this machine none is left for process 1: start fewer processes" in one_error(capsys)


def test_sharding_without_torchrec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchrec", None)
    with pytest.raises(InputRejected, match="needs torchrec: install the extra sharded, or, where"):
        training.sharded.need_torchrec()


@pytest.mark.parametrize("rank", ["0", "1"])
def test_other_commands_are_not_for_several_processes(
    rank: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    assert main(["reproduce", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    if rank == "0":
        assert "several processes can retrain and nothing else: run this without torchrun" in one_error(capsys)
    else:
        assert capsys.readouterr() == ("", "")


def test_what_a_scheduler_sets_is_not_torchrun(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["completion", "bash"]) == 0
    assert capsys.readouterr().err == ""


@pytest.fixture
def as_rank(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Of two processes, which find one another by a store in memory; RANK says which one this is."""
    store = HashStore()
    monkeypatch.setattr("training.processes.rendezvous", lambda _: iter([(store, int(os.environ["RANK"]), 2)]))
    monkeypatch.setattr("training.processes._SECONDS_TO_SAY_WHY", 0.0)
    for name, value in (("RUN_ID", "none"), ("RESTART_COUNT", "0")):
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    monkeypatch.setenv("WORLD_SIZE", "2")
    before = signal.getsignal(signal.SIGTERM)
    yield monkeypatch
    signal.signal(signal.SIGTERM, before)


def test_a_wrong_setting_is_said_once(as_rank: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    as_rank.setenv("RANK", "1")
    assert main(["retrain", "--batch", "0"]) == Status.USAGE
    assert "--batch" in one_error(capsys)
    as_rank.setenv("RANK", "0")
    with pytest.raises(SystemExit) as ended:
        main(["retrain", "--batch", "0"])
    assert ended.value.code == Status.USAGE
    assert capsys.readouterr() == ("", "")


def test_told_to_end_by_torchrun_one_says_so(as_rank: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As where another one was killed, and torchrun noticed it first."""
    for rank, said in (("1", 1), ("0", 0)):
        as_rank.setenv("RANK", rank)
        with pytest.raises(SystemExit), of_torchrun({}):
            sys.exit(Status.TERMINATED)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == said, rank
        assert all(line.startswith("error: told to end, as torchrun does where") for line in lines)


def test_who_ends_as_the_first_one_did_says_nothing(
    as_rank: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    as_rank.setenv("RANK", "1")
    with pytest.raises(SystemExit), of_torchrun({}):
        sys.exit(Status.GATE_CLOSED)
    assert capsys.readouterr() == ("", "")


def test_who_fails_first_is_not_ended_before_it_says_why(as_rank: pytest.MonkeyPatch) -> None:
    as_rank.setenv("RANK", "0")
    with pytest.raises(InputRejected), of_torchrun({}):
        raise InputRejected("a reason")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_a_folder_that_is_not_shared(tmp_path: Path, problem: Problem) -> None:
    task = Task(problem, [], tmp_path / "checkpoint.pt", "20260101T000000Z-0123456789ab")
    with pytest.raises(InputRejected, match=r"--shard-users: .* all processes must share one VAR_DIR"):
        task.need_shared()
    (tmp_path / VERSION).write_text("20260101T000001Z-0123456789ab", "utf-8")  # another machine's run of the same
    with pytest.raises(InputRejected, match="must share one VAR_DIR"):
        task.need_shared()
    (tmp_path / VERSION).write_text(task.version, "utf-8")
    task.need_shared()


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_parts_that_cannot_be_written_or_read_are_an_error_of_ours(tmp_path: Path) -> None:
    """torch.distributed.checkpoint's own is no Exception, and would be a traceback from each process."""
    in_the_way, folder = tmp_path / "file", tmp_path / "checkpoint.1"
    in_the_way.write_text("")
    parts = {kind: torch.ones(2, 3) for kind in ("weight", "best", "sums")}
    with (
        pytest.raises(CheckpointFailed, match=r"file cannot be written .*: mend that$"),
        of_parts(in_the_way, "written", "mend that"),
    ):
        save(parts, checkpoint_id=in_the_way / "folder", no_dist=True)
    with pytest.raises(CheckpointFailed, match=r"checkpoint\.1 is not there, or not whole: put it back"):
        read_parts(folder, [2, 3], None)
    save(parts, checkpoint_id=folder, no_dist=True)
    assert [rows_RD.tolist() for rows_RD in read_parts(folder, [2, 3], None)] == [[[1.0] * 3] * 2] * 3
    (part,) = folder.glob("*.distcp")
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(
        CheckpointFailed, match=r"checkpoint\.1 cannot be read .*: put it back, or delete .* to begin anew"
    ):
        read_parts(folder, [2, 3], None)


def test_an_address_without_ray_is_noticed_before_the_training(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.encoding.engines.find_spec", lambda name: name)
    assert main(["retrain", "--ray", "127.0.0.1:1"]) == 1
    assert one_error(capsys).startswith("error: no Ray cluster at 127.0.0.1:1 (")
