"""The processes of one training, as torchrun starts them: who is first, what they tell one another, how they end.

The first does all that has an effect: stores, features, checkpoints, export, publishing, messages. The others help it
to fit, and then end as it does. Without torchrun there is one process, and nothing of torch.distributed is touched.

Shape suffixes: L lists, C candidates.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import numpy as np
import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from contract.cli.faults import fault
from contract.cli.options import UsageWrong
from contract.cli.statuses import Status
from contract.cli.terminal import write_error
from contract.errors import DeviceUnavailable
from training.errors import ProcessLost
from training.evaluate import Scorer
from training.network import Ints
from training.problem import CandidateLists, Floats
from training.settings import BY_TORCHRUN, Device, Placement
from training.sharded import need_torchrec

T = TypeVar("T")

LONGEST_WAIT = timedelta(minutes=30)
"""For what the others do, too, step by step; a process that is gone is noticed at once, one that hangs after this."""
_CALLED, _ENDED, _FAILED = "called", "ended", "failed"
_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_TO_SAY_WHY = 1.0
_TOLD_TO_END = "told to end, as torchrun does where another process was lost: run the same command again to go on"


@dataclass(frozen=True)
class Processes:
    """All processes of a training, seen by one of them; `store` is what torchrun has for them to find one another."""

    rank: int = 0
    world: int = 1
    store: Store | None = None

    @property
    def first(self) -> bool:
        """Whether this is the one that does all that has an effect."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.world > 1

    def need(self, placement: Placement) -> None:
        """Make this process ready to compute there.

        Raises UsageWrong where torchrun is missing, InputRejected where TorchRec is, DeviceUnavailable where a GPU is.
        """
        if placement.shard_users:
            if self.store is None:
                raise UsageWrong(f"--shard-users: start it by torchrun, as `{BY_TORCHRUN}`")
            need_torchrec()
        if placement.device == "cuda":
            number = int(os.environ.get("LOCAL_RANK", "0"))
            if number >= torch.cuda.device_count():
                raise DeviceUnavailable(
                    f"--device cuda: of {torch.cuda.device_count()} GPUs on this machine none is left for process "
                    f"{number}: start fewer processes, or leave --device out"
                )
            torch.cuda.set_device(number)

    @contextmanager
    def joined(self, device: Device) -> Iterator[None]:
        """Let all of them meet, and compute together within: by nccl between cards, else by gloo.

        Raises ProcessLost where one of them is gone.
        """
        if self.store is None:
            yield
            return
        if self.first:
            self.store.set(_CALLED, "")
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        meeting = PrefixStore("joined", self.store)
        try:
            distributed.init_process_group(
                backend, store=meeting, rank=self.rank, world_size=self.world, timeout=LONGEST_WAIT
            )
            yield
            distributed.barrier()
        except Exception as error:
            if not _of_connections(error):
                self.claims_the_error()  # before the others see that this one leaves
                raise
            raise ProcessLost(
                "another process of this training was killed or cannot be reached: run the same command again to go on"
            ) from error
        finally:
            if distributed.is_initialized():
                with suppress(RuntimeError):  # of connections that are gone
                    distributed.destroy_process_group()

    def called(self) -> bool:
        """Wait, however long it takes, until the first one wants the others; False: it ended without them."""
        return self._wait_for(_CALLED, _ENDED) == _CALLED

    def status_of_first(self) -> int:
        """Wait, however long it takes, until the first one ends."""
        self._wait_for(_ENDED)
        return int(self._store.get(_ENDED))

    def from_first(self, value: T | None) -> T:
        """What the first one gives."""
        if not self.several:
            return cast(T, value)
        told = [value]
        distributed.broadcast_object_list(told, src=0, device=torch.device("cpu"))
        return cast(T, told[0])

    def total(self, value: float) -> float:
        """The sum over all of them, the same to the last bit in each."""
        return sum(self.gathered(value))

    def gathered(self, value: T) -> list[T]:
        """What each gives, by rank."""
        if not self.several:
            return [value]
        given: list[T | None] = [None] * self.world
        distributed.all_gather_object(given, value)
        return cast(list[T], given)

    def shares(self, count: int) -> list[Ints]:
        """Places among so many things, by process; where they do not suffice, the first one stands in, counted 0."""
        parts = np.array_split(np.arange(count), self.world)
        return [part if len(part) else np.zeros(1, dtype=np.int64) for part in parts]

    def count(self, count: int) -> int:
        """How many of so many things are in this one's share."""
        return len(range(self.rank, count, self.world))

    def together(self, scorer: Scorer) -> Scorer:
        """A scorer that all call with the same lists: each scores a share of them, and all get all scores."""
        if not self.several:
            return scorer

        def score(lists: CandidateLists) -> Floats:
            count = len(lists.user_L)
            score_C = scorer(lists.some(self.shares(count)[self.rank]))
            return np.concatenate(self.gathered(score_C if self.count(count) else score_C[:0]))

        return score

    def claims_the_error(self) -> bool:
        """Whether this one is the first to fail, and so the one that says why, undisturbed by SIGTERM."""
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, once another one has ended
        mine = str(self.rank).encode()
        try:
            claimed = bytes(self._store.compare_set(_FAILED, "", mine.decode())) == mine
        except RuntimeError:  # torchrun is gone
            claimed = self.first
        if not claimed:
            signal.signal(signal.SIGTERM, before)
        return claimed

    def ends(self, status: int) -> None:
        """Tell the others how the first one ended."""
        with suppress(RuntimeError):  # torchrun is gone, and ends them
            self._store.set(_ENDED, str(int(status)))

    @property
    def _store(self) -> Store:
        if self.store is None:
            raise ValueError("there are no others to wait for")
        return self.store

    def _wait_for(self, *keys: str) -> str:
        """By looks, since a wait in C++ hears no signal."""
        while True:
            for key in keys:
                if self._store.check([key]):
                    return key
            time.sleep(_SECONDS_BETWEEN_LOOKS)


ALONE = Processes()


def started() -> int | None:
    """How many processes torchrun started; None without it."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else None


@contextmanager
def of_torchrun(expected: Mapping[type[Exception], Status]) -> Iterator[Processes]:
    """The processes that torchrun started, or ALONE. However the block ends, all end so.

    One of them says what went wrong: the first to fail, not counting those that fail because another one has gone.
    """
    if started() is None:
        yield ALONE
        return
    store, rank, world = next(iter(rendezvous("env://")))
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    ours = Processes(rank, world, PrefixStore(f"training/{attempt}", store))
    status = Status.BUG
    try:
        yield ours
        status = Status.DONE
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
        if ours.first:
            ours.claims_the_error()
            raise
        sys.exit(status)
    except SystemExit as ended:
        status = Status.TERMINATED
        if ended.code == status and ours.claims_the_error():  # not by sys.exit of one that ends as the first one did
            write_error(_TOLD_TO_END)
        raise
    except Exception as error:
        claimed = ours.claims_the_error()
        status, _ = fault(error, expected)
        if claimed:
            raise
        time.sleep(_SECONDS_TO_SAY_WHY)  # torchrun ends all when the first one ends
        sys.exit(status)
    finally:
        if ours.first:
            ours.ends(status)


def _of_connections(error: Exception) -> bool:
    """Of torch.distributed's own kinds, or gloo's, which are plain ones that name a file of its source."""
    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
