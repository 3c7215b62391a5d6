"""The simulation of docs/scale.md beside theory, and what it takes for held beside what the service holds."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, groupby
from pathlib import Path

import numpy as np
import pytest
import simpy

from benchmarks.scale import policies
from benchmarks.scale.assumptions import Assumptions
from benchmarks.scale.held_trace import Memory, Need, Routing, Trace, asked, trace, with_newest
from benchmarks.scale.plan import AS_BUILT, PLANNED
from benchmarks.scale.policies import HYBRID, POLICIES, Found, Loaded, Point, loaded, run_policy
from benchmarks.scale.push import Writers, push, small_s, writers_for
from benchmarks.scale.shape import Ints, Network
from benchmarks.scale.simulation import Layout, Load, Queue, simulate, stationary_waits
from benchmarks.scale.times import Times
from benchmarks.scale.told import beside, by_policy
from benchmarks.scale.validate import Compared, correction, needs_of, open_loop
from contract.graph import TimelineEntry, UserView
from contract.runtime import Attended
from service.held import Held, People, Selection
from service.table import packed_directions
from tests.unit.test_plan import made_constants

LOCAL = Layout(shards=1, rtt_s=0.0, bytes_a_second=math.inf)
HELD = Need(6, 100, False, 0, 0, 0, 0)
COLD = Need(6, 100, True, 6, 6, 100, 100)


def sojourns(rate: float, service: Callable[[np.random.Generator], float], jobs: int) -> list[float]:
    """Seconds in a queue with Poisson arrivals."""
    env, rng = simpy.Environment(), np.random.default_rng(0)
    queue, taken = Queue(env), []

    def job() -> Iterator[simpy.Event]:
        came = env.now
        yield queue.work(service(rng))
        taken.append(env.now - came)

    def arrive() -> Iterator[simpy.Event]:
        for gap in rng.exponential(1 / rate, jobs):
            yield env.timeout(gap)
            env.process(job())  # type: ignore[arg-type]

    env.process(arrive())  # type: ignore[arg-type]
    env.run()
    return taken


@pytest.mark.parametrize("busy", [0.3, 0.7])
def test_exponential_service_waits_as_theory_has_it(busy: float) -> None:
    """M/M/1: time in it is exponential, with rate mu - lambda."""
    taken = sojourns(busy, lambda rng: float(rng.exponential(1.0)), 30_000)
    assert np.quantile(taken, 0.99) == pytest.approx(-math.log(0.01) / (1 - busy), rel=0.12)
    assert np.mean(taken) == pytest.approx(1 / (1 - busy), rel=0.08)


@pytest.mark.parametrize("busy", [0.3, 0.7])
def test_constant_service_waits_as_theory_has_it(busy: float) -> None:
    """M/D/1: Erlang's distribution of waits."""

    def no_longer_than(t: float) -> float:
        terms = ((busy * (k - t)) ** k / math.factorial(k) * math.exp(-busy * (k - t)) for k in range(int(t) + 1))
        return (1 - busy) * sum(terms)

    taken = sojourns(busy, lambda _: 1.0, 30_000)
    p99 = next(t / 100 for t in count() if no_longer_than(t / 100) >= 0.99)
    assert np.quantile(taken, 0.99) == pytest.approx(1 + p99, rel=0.08)


def test_other_replicas_work_is_found_as_often_as_a_shard_is_busy() -> None:
    waits = stationary_waits(0.6, 1e-3, np.random.default_rng(0))
    assert np.mean(waits > 0) == pytest.approx(0.6, abs=0.02)
    assert np.mean(waits) == pytest.approx(0.6 * 1e-3 / 0.4, rel=0.05)


@pytest.fixture(scope="module")
def times(tmp_path_factory: pytest.TempPathFactory) -> Times:
    return Times(made_constants(tmp_path_factory.mktemp("docs")))


def test_one_request_at_a_time_takes_what_its_parts_take(times: Times) -> None:
    for need in (HELD, COLD):
        alone = simulate([need], Load(1.0, 200, "even"), times, LOCAL, seed=0)
        assert alone.quantile_ms(0.5) == pytest.approx(1e3 * (times.replica(need) + times.redis(need)))
        assert alone.replica_busy == pytest.approx(times.replica(need), rel=0.02)
        assert alone.shard_busy == pytest.approx(times.redis(need), rel=0.02)


def test_what_is_measured_as_a_whole_is_the_sum_of_its_parts(times: Times) -> None:
    """With made constants: 1,000 µs held; read anew 2,000, 10 a followee, 5 an entry, 2 a candidate, 100 of them."""
    held = Need(6, 1_000, False, 0, 0, 0, 0)
    assert 1e6 * times.replica(held) == pytest.approx(1_000)
    assert 1e6 * times.replica(COLD) == pytest.approx(2_000 + 60 + 500 + 200)
    assert 1e6 * times.redis(COLD) == pytest.approx(200 + 6 + 50 + 100)


def test_looks_are_shared_under_load(times: Times) -> None:
    """And nobody wakes a loop that is busy: alone 1,200 requests/s are more than a replica can do."""
    rates = {rate: simulate([HELD], Load(rate, 3_000), times, LOCAL, seed=0) for rate in (100.0, 1_200.0)}
    few, many = (rates[rate].replica_busy / rate for rate in (100.0, 1_200.0))
    assert many < 0.85 * few
    assert rates[1_200.0].quantile_ms(0.5) < 20


def test_a_round_trip_is_as_slow_as_the_slowest_shard(times: Times) -> None:
    wide = Need(500, 500, True, 500, 500, 500, 500)
    layout = Layout(shards=50, rtt_s=1e-3, bytes_a_second=math.inf)
    idle, busy = (simulate([wide], Load(1.0, 100), times, layout, seed=0, others=others) for others in (0.0, 0.7))
    piece = times.piece([wide], layout.shards)
    slowest = sum(1 / k for k in range(1, 36)) * piece / 0.3  # of 35 exponential waits
    assert busy.quantile_ms(0.5) - idle.quantile_ms(0.5) == pytest.approx(3e3 * slowest, rel=0.3)


def test_the_same_seed_is_the_same_run(times: Times) -> None:
    first, again, other = (simulate([COLD], Load(100.0, 300), times, LOCAL, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.seconds, again.seconds)
    assert not np.array_equal(first.seconds, other.seconds)


def made_follows(user: int) -> tuple[Ints, Ints]:
    """Three followees each, ten entries; every user shares one followee with the next."""
    return np.arange(2 * user, 2 * user + 3), np.full(3, 10)


def test_what_was_read_is_held_until_all_is_dropped() -> None:
    memory = Memory(made_follows, held_mb=0.1)
    first, again, next_user = memory.need(0, 1), memory.need(1, 1), memory.need(2, 2)
    assert (first.view, first.timelines, first.entries, first.vectors) == (True, 3, 30, 30)
    assert again.nothing
    assert (next_user.view, next_user.timelines, next_user.vectors) == (True, 2, 20)
    assert memory.dropped == 0
    full = [memory.need(3, user) for user in range(10, 20)]
    assert memory.dropped > 0
    assert all(need.timelines in (2, 3) for need in full)
    assert not memory.need(4, 1).nothing


def test_what_changed_is_read_anew() -> None:
    quiet, busy = Memory(made_follows, 100), Memory(made_follows, 100, changes=1e-3)
    for memory in (quiet, busy):
        memory.need(0, 1)
    assert quiet.need(1e6, 1).nothing
    stale = busy.need(1e6, 1)
    assert (stale.timelines, stale.entries, stale.vectors) == (3, 30, 3)


def test_memory_counts_bytes_as_the_service_does() -> None:
    entries, authors = 40, [f"author-{n}" for n in range(6)]
    held = Held("v", 400)
    view = held.view("user", UserView(exists=True, followee_ids=authors, seen_tweet_ids=set()))
    held.keep(held.views, "user", view)
    for author in authors:
        posts = [TimelineEntry(f"{author}-{n}", author, n) for n in range(entries)]
        held.keep(held.timelines, author, held.timeline(posts, entries))
    directions_2D = np.zeros((2, 400), dtype=np.float32)
    attended = Attended(directions_2D, np.zeros(6, dtype=np.float32), knows_user=True)
    people = People(view, 0, np.arange(6), attended, packed_directions(directions_2D))
    held.keep(held.people, "user", people)
    chosen = np.concatenate([held.timelines[author].entries for author in authors], axis=1)
    held.keep(held.selections, "user", Selection(view, [0] * 6, chosen))
    memory = Memory(lambda _: (np.arange(6), np.full(6, entries)), held_mb=100)
    memory.need(0.0, 0)
    assert memory.bytes == pytest.approx(held.nbytes, rel=0.02)


def test_an_affine_users_visit_finds_what_its_first_request_read() -> None:
    network = Network(1e8, Assumptions())
    by_chance, affine = (
        trace(network, Routing(50, is_affine), 20.0, np.random.default_rng(0), 1e5, most=1_500).needs[500:]
        for is_affine in (False, True)
    )
    assert sum(need.nothing for need in by_chance) < 0.05 * 1_000
    assert sum(need.nothing for need in affine) > 0.5 * 1_000


def test_visits_have_as_many_requests_as_is_assumed() -> None:
    network = Network(1e8, Assumptions())
    stream = asked(network, Routing(50, affine=True), 100.0, np.random.default_rng(0))
    asks = [next(stream) for _ in range(10_000)]
    assert len(asks) / (asks[-1][0] - asks[0][0]) == pytest.approx(100, rel=0.15)
    visits = [sum(1 for _ in asks_of) for _, asks_of in groupby(sorted(user for _, user in asks))]
    assert np.mean(visits) == pytest.approx(5, rel=0.3)  # those that go on beyond the end are cut
    assert [at for at, _ in asks] == sorted(at for at, _ in asks)


def test_an_inbox_is_one_read_beside_the_timelines_of_the_much_followed() -> None:
    memory = Memory(made_follows, 100, pulled=lambda _: 1)
    need = memory.need(0, 1).by_inbox()
    assert (need.timelines, need.entries, need.vectors) == (2, 30, 30)
    held = memory.need(1, 1)
    assert held.nothing
    assert held.by_inbox() == held


def test_pushing_is_behind_by_as_much_as_the_largest_posts_take() -> None:
    network = Network(1e9, Assumptions())
    writers = writers_for(network, math.inf, Writers(1, push_s=2e-5, redis_s=4e-6))
    some, all_ = (push(network, writers, below, seed=0, events=5_000) for below in (1e4, math.inf))
    most = float(network.followers_of(np.array([0]))[0]) * writers.push_s / writers.processes
    assert some.quantile(0.99) < all_.quantile(0.99) < 3 * most
    assert some.busy < all_.busy <= 0.6


def test_where_nobody_has_many_followers_a_push_takes_a_command() -> None:
    network = Network(1e9, Assumptions())
    writers = Writers(8, push_s=2e-5, redis_s=4e-6, command_s=1e-4, shards=100)
    found = push(network, writers, below=1_000, seed=0)
    assert found.quantile(0.99) == pytest.approx(1.2e-4)
    assert found.busy == pytest.approx(small_s(network, writers, 1_000) / 8)
    alone = Writers(8, push_s=2e-5, redis_s=4e-6)
    assert small_s(network, writers, 1_000) == pytest.approx(6 * small_s(network, alone, 1_000))


def test_bursts_are_ten_times_the_load_in_a_tenth_of_each_second() -> None:
    gaps = Load(200.0, 20_000, "burst").gaps(np.random.default_rng(0))
    at = np.cumsum(list(gaps))
    in_burst = np.mean(at % 1 < 0.1)
    assert in_burst == pytest.approx(10 / 19, abs=0.015)
    assert len(at) / at[-1] == pytest.approx(200, rel=0.05)
    counts, _ = np.histogram(at[at % 1 < 0.1] % 1, bins=4, range=(0, 0.1))
    assert counts.max() / counts.min() < 1.2


def test_a_trace_is_a_whole_cycle() -> None:
    """Memory is full at its end, and was not before: what comes next finds nothing."""
    network = Network(1e8, replace(Assumptions(), held_mb=5))
    traced = trace(network, Routing(50, affine=True), 20.0, np.random.default_rng(0), 1e5, most=10_000)
    assert 100 < len(traced.needs) < 10_000
    assert not traced.needs[0].nothing
    longer = trace(network, Routing(50, affine=True), 20.0, np.random.default_rng(0), 1e5, most=len(traced.needs) - 1)
    assert longer.needs == traced.needs[:-1]


def test_who_follows_nobody_is_offered_the_newest_tweets() -> None:
    nobody, somebody = Need(0, 0, False, 0, 0, 0, 0), HELD
    traced = Trace([0.0, 0.1, 0.2, 0.3, 1.5], [nobody, nobody, somebody, nobody, nobody])
    rng = np.random.default_rng(0)
    always, once_a_second, quiet = (
        list(with_newest(traced, tweets, every, rng)) for tweets, every in ((1e3, 0.0), (1e3, 1.0), (1e-9, 0.0))
    )
    assert [need.newest for need in always] == [1_000, 1_000, 0, 1_000, 1_000]
    assert [need.newest for need in once_a_second] == [1_000, 0, 0, 0, 1_000]
    assert [need.newest for need in quiet] == [1_000, 0, 0, 0, 0]
    assert 50 < always[1].vectors < 150
    assert always[1].candidates == 1_000
    assert always[2] == somebody


def test_what_the_newest_tweets_take_is_counted(times: Times) -> None:
    """1,000 entries at 5 us, of Redis .5, in a round trip of one key."""
    (phase,) = times.phases(Need(0, 1_000, False, 0, 0, 0, 0, newest=1_000))
    assert phase.keys == 1
    assert 1e6 * phase.redis == pytest.approx(500)
    assert phase.before + phase.after > 5e-3


def test_each_shard_that_is_asked_costs_a_command(times: Times) -> None:
    wide = Need(500, 500, True, 500, 500, 500, 500)
    one, many = times.redis(wide), times.redis(wide, shards=50, looked_at=50)
    commands = 3 * 50 * (1 - (1 - 1 / 50) ** 500) + 1
    assert many - one == pytest.approx((commands - 4) * times.command_redis + 490e-6)


def test_policies_differ_in_what_they_say(tmp_path: Path) -> None:
    """As built all shards are looked at, and a replica pays for each; by a proxy one command is sent."""
    constants, network = made_constants(tmp_path), Network(1e8, replace(Assumptions(), held_mb=60, shard_gb=100))
    built, affine, newest, proxy, apart, inboxes = (
        loaded(network, policy, constants, 100.0) for policy in POLICIES.values()
    )
    assert built.placed.looked_at == built.placed.shards > 1
    assert proxy.placed.looked_at == 1
    assert share_held(built) < share_held(affine)
    assert sum(need.newest for need in newest.needs) < 0.2 * sum(need.newest for need in affine.needs)
    assert proxy.replica_s + 1e-4 * (built.placed.shards - 1) < newest.replica_s
    assert [need.followees for need in proxy.needs if need.followees <= 100] == [need.followees for need in apart.needs]
    assert min(need.followees for need in apart.apart) > 100
    assert any(a != b for a, b in zip(apart.needs, inboxes.needs, strict=True))


def share_held(one: Loaded) -> float:
    return sum(need.nothing for need in one.needs) / len(one.needs)


def test_a_replica_is_planned_for_the_most_that_is_not_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for more than its share of a core, nor where p99 is too much, corrected, unless it always is."""
    monkeypatch.setattr(policies, "_IN_BURSTS", 100)
    constants, network = made_constants(tmp_path), Network(1e6, replace(Assumptions(), held_mb=1))

    def found(limit_ms: float, off: float, busy: float) -> Found:
        assumed = replace(network.assumed, p99_ms=limit_ms, replica_busy=busy)
        return run_policy(Network(1e6, assumed), POLICIES[AS_BUILT], constants, off)

    loose, by_busy, never = found(1e6, 1.0, 0.9), found(1e6, 1.0, 0.3), found(1.0, 1.0, 0.9)
    assert by_busy.planned.rate < loose.planned.rate == never.planned.rate
    assert by_busy.planned.rate * by_busy.replica_s <= 0.3
    between = (loose.points[0].p99 + loose.planned.p99) / 2
    assert found(10 * between, 10.0, 0.9).planned.rate < loose.planned.rate
    assert found(10 * between, 1.0, 0.9).planned.rate == loose.planned.rate


def test_what_does_not_keep_up_is_not_simulated(times: Times) -> None:
    one = Loaded(100.0, [HELD], [], times, LOCAL, replica_s=1e-3, redis_s=0.0, others=1.0)
    assert one.cycle() == Point(100.0, math.inf, math.inf, 0)
    assert replace(one, others=0.5).cycle().p99 < 10


def test_what_is_compared_is_sent_by_connections_that_wait(times: Times) -> None:
    """Where all is held an open loop takes what a request takes; beyond what a replica can do it falls behind."""
    needs = list(needs_of(17, 2_000.0))[:600]
    assert all(need.nothing for need in needs)
    slow, fast = (np.quantile(open_loop(needs, rate, times, 1e-6, seed=0), 0.5) for rate in (50.0, 5_000.0))
    assert slow == pytest.approx(times.replica(needs[0]), rel=0.3)
    assert fast > 10 * slow


def test_p99_is_corrected_by_the_worst_of_the_test_that_is_trusted() -> None:
    compared = [
        Compared("in part", 0.25, 100, (1, 6), (1, 4)),
        Compared("in part", 0.5, 200, (1, 6), (1, 5)),
        Compared("in part", 0.9, 400, (1, 60), (1, 5)),
        Compared("held", 0.25, 100, (1, 9), (1, 3)),
    ]
    assert correction(compared) == pytest.approx(1.5)
    assert correction(compared[2:]) == 1.0


def test_sentences_are_written_from_the_rows() -> None:
    """By size, whether p99 is within what is wanted, corrected, and what inboxes change."""

    def found(p99: float) -> Found:
        points = [Point(100.0, 1.0, p99, 1_000)]
        return Found(points, points[0], points[0], 3, 0.1, 0.5, 9.0, 1e-3, 1e-4, 1e4, 0.0, 0.0)

    by_size = {"1 B": {AS_BUILT: found(math.inf), PLANNED: found(6.0), HYBRID: found(3.0)}}
    told = by_policy(by_size, 2.0, Assumptions())
    assert f"- 1 B, *{AS_BUILT}*: does not keep up with 100 requests/s a replica." in told
    assert f"- 1 B, *{PLANNED}*: 100 requests/s a replica, p99 12.0 ms, corrected: not within the 10 ms wanted." in told
    assert f"- 1 B, *{HYBRID}*: 100 requests/s a replica, p99 6.0 ms, corrected: within the 10 ms wanted." in told
    assert "inboxes on top change p99 by -50% to -50%." in told
    compared = [
        Compared("held", 0.5, 100, (1, 4), (2, 1)),
        Compared("in part", 0.5, 200, (1, 6), (1, 4)),
        Compared("in part", 0.9, 200, (1, 9), (1, 3)),
    ]
    assert "*held*: p50 is off by +100% to +100%, p99 by -75% to -75%." in beside(compared)
    assert "is 1.50 times the simulated one" in beside(compared)
