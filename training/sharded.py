"""Vectors too many for one process: each holds a block of rows, by TorchRec, and all are called as nn.Embedding is.

TorchRec is imported here alone, once it is asked for. Shape suffixes: R rows of this process, M numbers asked for,
D dimensions.
"""

import logging
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, distributed, nn

from training.errors import InputRejected

_ROWS_AT_ONCE = 65_536
"""A multiple of 16: torch draws normal numbers by as many, so that pieces are the same as the whole."""
_ADAGRADS_EPS = 1e-10
"""torch.optim.Adagrad's; FBGEMM has another one."""


def need_torchrec() -> None:
    """Raises InputRejected where it is not installed."""
    if missing := [name for name in ("torchrec", "fbgemm_gpu") if find_spec(name) is None]:
        raise InputRejected(
            f"--shard-users needs {missing[0]}: install the extra sharded, or, where there is no GPU, "
            "sharded-cpu and then TorchRec by `pip install --no-deps torchrec`"
        )


class ShardedVectors(nn.Module):
    """A table [rows, D] in blocks of consecutive rows, a block a process, taught by Adagrad as gradients come in.

    Every process must make the same calls, with whatever numbers it wants. `weight`, float32 [R, D], are this process's
    rows from `start` on, and `sums` Adagrad's of them. Neither is a parameter: TorchRec reduces and applies gradients,
    which must be those of the mean over the processes, as DistributedDataParallel has it.
    """

    def __init__(self, rows: int, dim: int, learning_rate: float, device: torch.device) -> None:
        """Draws what nn.Embedding draws, so that what is drawn next is the same.

        Raises InputRejected where no row is left for this process.
        """
        super().__init__()
        self.rows, self.dim = rows, dim
        with torch.random.fork_rng(devices=[]):
            table = _table(rows, dim, learning_rate, device)
        self._table = [table]  # out of sight of torch, which would take it for parameters
        ((_, states),) = table.fused_optimizer.state_dict()["state"].items()
        shards = next(iter(states.values())).local_shards()
        if not shards:
            raise InputRejected(f"--shard-users: {rows} users are too few for so many processes: start fewer")
        self.start: int = shards[0].metadata.shard_offsets[0]
        self.sums: Tensor = shards[0].tensor
        self.weight: Tensor
        self.register_buffer("weight", next(iter(table.parameters())).data)
        self.draw(1.0)

    def forward(self, number_M: Tensor) -> Tensor:
        """Float32 [M, D]."""
        from torchrec import KeyedJaggedTensor

        count = torch.tensor([len(number_M)], device=number_M.device)
        asked = KeyedJaggedTensor(keys=["rows"], values=number_M, lengths=count)
        learns = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(learns):  # FBGEMM computes in no other mode
            rows_MD: Tensor = self._table[0](asked)["rows"].values()
        return rows_MD

    @torch.no_grad()
    def gathered(self, number_M: Tensor, wanted: bool) -> Tensor:
        """Some rows, in pieces, float32 [M, D] on the CPU, for the processes that want them; the others get none."""
        pieces = torch.split(number_M.to(self.weight.device), _ROWS_AT_ONCE)
        return torch.cat([self(piece if wanted else piece[:0]).cpu() for piece in pieces])

    def draw(self, std: float) -> None:
        """Every row anew from N(0, std^2), as nn.init.normal_ would; no process has all of them at a time."""
        for first, some_RD in _drawn(self.rows, self.dim, std):
            begin, end = max(first, self.start), min(first + len(some_RD), self.start + len(self.weight))
            if begin < end:
                self.weight[begin - self.start : end - self.start] = some_RD[begin - first : end - first]

    def own(self, whole: Tensor) -> Tensor:
        """The rows of this process, of a whole table."""
        return whole[self.start : self.start + len(self.weight)]

    def as_distributed(self, own_RD: Tensor) -> Tensor:
        """The rows of this process as a part of the whole, for torch.distributed.checkpoint."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.tensor import DTensor, Shard

        mesh = init_device_mesh(own_RD.device.type, (distributed.get_world_size(),))
        shape, stride = torch.Size([self.rows, self.dim]), (self.dim, 1)
        return DTensor.from_local(own_RD, mesh, [Shard(0)], shape=shape, stride=stride)


def _table(rows: int, dim: int, learning_rate: float, device: torch.device) -> Any:
    """TorchRec's, on a group of its own: its steps on the way back come in no fixed order with those of others."""
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)  # it warns of what TorchRec calls
    from torchrec import EmbeddingCollection, EmbeddingConfig
    from torchrec.distributed.shard import shard
    from torchrec.distributed.sharding_plan import row_wise
    from torchrec.distributed.types import ShardingEnv
    from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward

    config = EmbeddingConfig(name="rows", embedding_dim=dim, num_embeddings=rows, feature_names=["rows"])
    whole = EmbeddingCollection(tables=[config], device=torch.device("meta"))
    told = {"lr": learning_rate, "eps": _ADAGRADS_EPS}
    apply_optimizer_in_backward(torch.optim.Adagrad, whole.parameters(), told)
    return shard(whole, row_wise(), ShardingEnv.from_process_group(distributed.new_group()), device)


def _drawn(rows: int, dim: int, std: float) -> Iterator[tuple[int, Tensor]]:
    """All rows in pieces, each with the number of its first; the last piece has what is left over, too."""
    bounds = [*(piece * _ROWS_AT_ONCE for piece in range(max(1, rows // _ROWS_AT_ONCE))), rows]
    for first, end in pairwise(bounds):
        yield first, torch.empty(end - first, dim).normal_(0, std)
