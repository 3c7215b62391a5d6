"""Service times of a request's parts, as they were measured (service_times.py, storage.py), in seconds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from benchmarks.scale.constants import Constants, NotMeasured
from benchmarks.scale.held_trace import Need

_US = 1e-6
_ENTRY_BYTES = 60
_PHASES = 4
"""Round trips of a request that holds nothing: the view, people's vectors, timelines, candidates' vectors."""


@dataclass(frozen=True)
class Phase:
    """A round trip: of the replica's loop before and after it, of Redis beside what each command costs, keys, bytes."""

    before: float
    after: float
    redis: float
    keys: int
    transferred: float


@dataclass(frozen=True)
class Spread:
    """How many times its kind's mean a request takes: the measured quantiles, and lines between them."""

    quantiles: npt.NDArray[np.float64]
    times: npt.NDArray[np.float64]

    def draw(self, rng: np.random.Generator) -> float:
        return float(np.interp(rng.random(), self.quantiles, self.times))


def spread(constants: Constants, kind: str) -> Spread:
    """Raises NotMeasured."""
    found = sorted((float(q), value) for q, value in constants.named("service_times", f"{kind}, quantile ").items())
    if not found:
        raise NotMeasured(f"“{kind}, quantile ...” of service_times")
    quantiles, times = np.array(found).T
    grid = np.interp((np.arange(10_000) + 0.5) / 10_000, quantiles, times)
    return Spread(quantiles, times / grid.mean())


class Times:
    """Raises NotMeasured where a row is missing.

    `wake` is what a loop that has nothing else to do takes to go on with a request or an answer: by that, and by looks
    of their own, requests cost more alone than beside others. `one_command`: whether a replica sends one command a
    round trip, whatever the number of shards; what divides it costs nothing here.
    """

    def __init__(self, constants: Constants, one_command: bool = False) -> None:
        self._of = constants
        alone, shared, looks = (constants[name] for name in ("held_alone", "held_shared", "looks_shared"))
        self.look = _US * constants["look_client"]
        self.wake = max(0.0, (_US * (alone - shared) - (1 - looks) * self.look) / 2)
        many, few = constants["held_candidates"], constants["few_candidates"]
        self._ranked = _US * (shared - constants["held_few"]) / (many - few)
        self._held = _US * alone - self.look - 2 * self.wake - many * self._ranked
        self.look_redis = _US * constants["look_redis"]
        self._busy_look_redis = _US * constants["busy_look_redis"]
        self.command = 0.0 if one_command else _US * constants["command_client"]
        self._spreads = {kind: spread(constants, kind) for kind in ("held", "read anew")}
        self.before_look = self._held / 2

    def _part(self, name: str, where: str) -> float:
        return _US * self._of[f"{name}_{where}"]

    @cached_property
    def _round_trip(self) -> tuple[float, float]:
        """What one costs whatever it brings: of the replica and of Redis."""
        service = self._part("request", "service") - self._held - self.look - (2 + _PHASES) * self.wake
        store = self._part("request", "redis") - self.look_redis
        return max(0.0, service) / _PHASES, max(0.0, store) / _PHASES

    @property
    def command_redis(self) -> float:
        """Of a shard, for a command, whatever it brings."""
        return self._round_trip[1]

    @cached_property
    def _parts(self) -> dict[str, tuple[float, float]]:
        return {
            name: (self._part(name, "service"), self._part(name, "redis"))
            for name in ("followee", "entry", "candidate")
        }

    @cached_property
    def _vector_bytes(self) -> float:
        return self._of["vector_bytes"]

    def factor(self, need: Need, rng: np.random.Generator) -> float:
        """How many times the mean this request takes."""
        return self._spreads["held" if need.nothing else "read anew"].draw(rng)

    def after_look(self, need: Need) -> float:
        """Of the loop, once all is there."""
        return self._held / 2 + need.candidates * self._ranked

    def phases(self, need: Need) -> Iterator[Phase]:
        """The round trips that it needs."""
        (followee, followee_r), (entry, entry_r), (candidate, candidate_r) = self._parts.values()
        if need.view:
            yield self._phase(0.0, 0.0, 1, 20 * need.followees)
        if need.view or need.users:
            half = need.users / 2
            yield self._phase(half * followee, half * followee_r, need.users + 1, (need.users + 1) * self._vector_bytes)
        if need.timelines:
            service = need.timelines / 2 * followee + need.entries * entry
            store = need.timelines / 2 * followee_r + need.entries * entry_r
            yield self._phase(service, store, need.timelines, _ENTRY_BYTES * need.entries)
        if need.newest:
            yield self._phase(need.newest * entry, need.newest * entry_r, 1, _ENTRY_BYTES * need.newest)
        if need.vectors:
            service, transferred = max(0.0, candidate - self._ranked), need.vectors * self._vector_bytes
            yield self._phase(need.vectors * service, need.vectors * candidate_r, need.vectors, transferred)

    def _phase(self, service: float, store: float, keys: int, transferred: float) -> Phase:
        trip, _ = self._round_trip
        return Phase(trip / 2, trip / 2 + service, store, keys, transferred)

    def replica(self, need: Need) -> float:
        """Of a replica's processor that has nothing else to do, so that it wakes for each answer; one shard."""
        work = self.before_look + self.look + self.after_look(need) + 2 * self.wake
        return work + sum(phase.before + phase.after + self.wake for phase in self.phases(need))

    def redis(self, need: Need, shards: int = 1, looked_at: int = 1) -> float:
        """Of all shards' processors; a look at busy ones, by each request, at so many of them."""
        commands = sum(touched(phase.keys, shards) for phase in self.phases(need))
        stored = sum(phase.redis for phase in self.phases(need))
        return looked_at * self._busy_look_redis + commands * self.command_redis + stored

    def transferred(self, need: Need) -> float:
        """Bytes between Redis and the replica."""
        return sum(phase.transferred for phase in self.phases(need))

    def commands(self, needs: Sequence[Need], shards: int) -> float:
        """How many a request sends beyond one a round trip, on average: keys by chance on so many shards."""
        asks = [phase.keys for need in needs for phase in self.phases(need)]
        return sum(touched(keys, shards) - 1 for keys in asks) / len(needs)

    def piece(self, needs: Sequence[Need], shards: int = 1) -> float:
        """Of a shard's processor, for a command, as these requests ask, on average."""
        some = needs[:2_000]
        asks = [(phase.redis, touched(phase.keys, shards)) for need in some for phase in self.phases(need)]
        commands = sum(one for _, one in asks)
        seconds = sum(one for one, _ in asks) + commands * self.command_redis + len(some) * self._busy_look_redis
        return seconds / (commands + len(some))


def touched(keys: int, shards: int) -> float:
    """Of so many keys spread by chance, the shards that have any, as is expected: each gets one command."""
    return float(shards * (1 - (1 - 1 / shards) ** keys))
