"""The arithmetic of docs/scale.md, with made constants."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.scale import plan
from benchmarks.scale.assumptions import Assumptions, rows
from benchmarks.scale.constants import ROWS, Constants, NotMeasured
from benchmarks.scale.plan_lines import BREAKS, CHANGES, LINES
from benchmarks.scale.shape import Network, lognormal_width, scattered
from docs.generate.scale import plan as plan_table

ASSUMED = Assumptions()
MADE = {
    "vector_bytes": 900.0,
    "encode_ms": 9.0,
    "decode_ms": 3.0,
    "post_ms": 25.0,
    "tuples_a_second": 10_000.0,
    "held_alone": 1_000.0,
    "held_shared": 680.0,
    "looks_shared": 0.2,
    "held_candidates": 1_000.0,
    "held_few": 590.0,
    "few_candidates": 100.0,
    "look_client": 200.0,
    "look_redis": 10.0,
    "busy_look_redis": 10.0,
    "request_service": 2_000.0,
    "followee_service": 10.0,
    "entry_service": 5.0,
    "candidate_service": 2.0,
    "request_redis": 200.0,
    "followee_redis": 1.0,
    "entry_redis": 0.5,
    "candidate_redis": 1.0,
    "command_client": 100.0,
}
"""The others are 1."""


def made_constants(docs: Path, left_out: str = "") -> Constants:
    """As if measured, on a machine of two cores."""
    found: dict[str | None, list[dict[str, object]]] = {}
    for name, row in ROWS.items():
        if name != left_out:
            value = MADE.get(name, 1.0)
            made = {"name": row.name, "unit": row.unit, "value": value, "machine": "made, 2 cores"}
            found.setdefault(row.section, []).append(made)
    for kind in ("held", "read anew"):
        found["service_times"] += [
            {"name": f"{kind}, quantile {q}", "unit": "times the mean", "value": 1.0} for q in (0, 1)
        ]
    for family in ("follows", "seen", "timeline"):
        found["storage"] += [{"name": f"{family}, {n:,}", "unit": "bytes", "value": 10.0 * n} for n in (1, 10, 1_000)]
    found["simulation"] = [
        {"name": f"{size}, {policy}: {what}", "unit": unit, "value": value}
        for size, policy in (("1 M", plan.AS_BUILT), ("1 B", plan.PLANNED))
        for what, unit, value in (
            ("planned for", "requests/s a replica", 500.0),
            ("p99 at the load planned for, corrected", "ms", 9.0),
            ("heavy readers", "of requests", 0.01),
            ("a heavy reader's request", "µs of a core", 50_000.0),
            ("from Redis", "KB a request", 10.0),
            ("Redis a request", "µs of a core", 100.0),
        )
    ]
    for folder in ("performance", "scale"):
        (docs / folder).mkdir()
    (docs / "performance" / "results.json").write_text(json.dumps(found.pop(None)))
    sections = {section: {"results": results} for section, results in found.items()}
    (docs / "scale" / "results.json").write_text(json.dumps(sections))
    return Constants(docs)


@pytest.fixture(scope="module")
def constants(tmp_path_factory: pytest.TempPathFactory) -> Constants:
    return made_constants(tmp_path_factory.mktemp("docs"))


MILLION, BILLION = Network(1e6, ASSUMED), Network(1e9, ASSUMED)


def test_followees_have_the_mean_that_is_assumed_and_a_heavy_tail() -> None:
    drawn = MILLION.followees_at(np.random.default_rng(0).random(2_000_000))
    assert drawn.mean() == pytest.approx(6.2, rel=0.03)
    assert drawn.min() >= 1
    assert drawn.max() == 10_000
    q99, q9999 = np.quantile(drawn, [0.99, 0.9999])
    assert q9999 / q99 == pytest.approx(100 ** (1 / ASSUMED.followees_tail), rel=0.1)


def test_the_lognormals_width_makes_the_papers_largest_likely() -> None:
    sigma = lognormal_width(ASSUMED)
    drawn = np.random.default_rng(0).lognormal(np.log(6.2) - sigma**2 / 2, sigma, (400, 4_752))
    assert np.median(drawn.max(axis=1)) == pytest.approx(162, rel=0.15)


def test_followers_add_up_to_follows() -> None:
    ranks = np.concatenate([np.arange(1e4), np.logspace(4, 6, 200_000)])
    followers = MILLION.followers_of(ranks)
    assert np.trapezoid(followers, ranks) / 1e6 == pytest.approx(MILLION.follows, rel=0.1)
    much = followers >= 1_000
    assert ranks[much].max() / 1e6 == pytest.approx(MILLION.share_of_authors(1_000), rel=0.05)


def test_follows_lead_to_authors_by_their_followers() -> None:
    ranks = MILLION.authors(np.random.default_rng(0).random(200_000))
    much = np.mean(MILLION.followers_of(ranks) >= 1_000)
    assert much == pytest.approx(MILLION.share_of_follows(1_000), rel=0.05)


def test_timelines_have_the_mean_that_is_assumed_and_no_more_than_are_kept() -> None:
    entries = MILLION.entries_of(np.arange(200_000))
    assert entries.max() == 200
    assert entries.mean() == pytest.approx(ASSUMED.tweets + ASSUMED.retweets, rel=0.05)
    assert np.array_equal(entries[:10], MILLION.entries_of(np.arange(10)))


def test_scattered_numbers_are_spread_evenly() -> None:
    found, _ = np.histogram(scattered(np.arange(100_000)), bins=10, range=(0, 1))
    assert found.min() > 9_500


def test_requests_and_changes_by_hand() -> None:
    assert plan.requests_a_second(MILLION) == pytest.approx(1e6 * 5 / 86_400 * 3)
    tweets, retweets = (1e6 * each / 30 / 86_400 * 3 for each in (0.727, 9.1))
    assert plan.changes_a_second(MILLION) == pytest.approx(4 * tweets + retweets)


def test_each_log_of_changes_reaches_back_by_what_is_written_to_it(constants: Constants) -> None:
    tweets, retweets = (1e9 * each / 30 / 86_400 * 3 for each in (0.727, 9.1))
    shards = plan.shards_planned(BILLION, constants)
    assert plan.log_seconds(BILLION, constants) == pytest.approx(1e4 * shards / (2 * tweets + retweets))
    assert plan.newest_log_seconds(BILLION, constants) == pytest.approx(1e4 / (2 * tweets))
    assert plan.log_seconds(MILLION, constants) == plan.newest_log_seconds(MILLION, constants)


def test_redis_by_hand(constants: Constants) -> None:
    """Made keys take 10 bytes an element: what follows, seen and timelines have on average."""
    elements = 0.48 * 6.2 + 9.1 + 9.827
    assert plan.graph_bytes(MILLION, constants) == pytest.approx(1 + 10 * elements, rel=0.06)
    one, three = (plan.redis_bytes(MILLION, constants, versions) for versions in (1, 3))
    assert three - one == pytest.approx(2 * 1.727e6 * 900)
    assert plan.shards_needed(MILLION, constants) == 1
    assert plan.shards_needed(BILLION, constants) == pytest.approx(1e3 * three / 25e9, abs=1)


def test_shards_are_no_busier_than_is_assumed(constants: Constants) -> None:
    busy = plan.requests_a_second(BILLION) * 100e-6
    assert plan.shards_planned(BILLION, constants) >= busy / 0.5


def test_replicas_network_and_trainer_by_hand(constants: Constants) -> None:
    requests = 1e9 * 15 / 86_400
    heavy = np.ceil(0.01 * requests * 0.05 / ASSUMED.replica_busy)
    each = 500 * (1 - 1e-6 * plan.changes_a_second(BILLION))
    assert plan.heavy_replicas(BILLION, constants) == heavy
    assert plan.replicas(BILLION, constants) == np.ceil(0.99 * requests / each) + heavy
    assert plan.replicas(MILLION, constants) == 2
    assert plan.network_gbit(BILLION, constants) == pytest.approx(1e9 * 15 / 86_400 * 80e3 / 1e9)
    assert plan.train_core_hours(MILLION, constants) == pytest.approx(1e6 * 9.1 * 8 * 12 / 10_000 * 2 / 3_600)
    assert plan.encode_core_hours(MILLION, constants) == pytest.approx(1e6 * 0.727 * 0.012 / 3_600)
    assert plan.trainer_gb(BILLION, constants) == pytest.approx(3 * 1e9 * 400 * 4 / 1e9 + 0.727 * 1_280 * 4)
    assert plan.sharded_over(BILLION, constants) == 75
    assert plan.look_of(11, constants) == pytest.approx((1 + 10 * 100) / 1e3)


def test_replicas_that_do_nothing_but_read_the_log_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MADE, "change_client", 1e6)
    swamped = made_constants(tmp_path)
    assert plan.log_share(BILLION, swamped) > 1
    assert plan.replicas(BILLION, swamped) == np.inf
    endless = {line.name for line in (*LINES, *BREAKS, *CHANGES) if line.value(BILLION, swamped) == np.inf}
    assert endless == {"replicas, one core each", "held in replicas' memory", LINES[-1].name}
    assert LINES[-1].value is plan.monthly_usd
    assert plan_table(LINES, swamped, ASSUMED).count("without end") == 6  # of 1 million, too


def test_int8_halves_vectors_and_not_the_rest(constants: Constants) -> None:
    saved = plan.redis_bytes(MILLION, constants, 2) - plan.int8_bytes(MILLION, constants)
    assert saved == pytest.approx(2 * 1.727e6 * (800 - 404))


def test_every_line_grows_with_users_or_says_why_not(constants: Constants) -> None:
    for line in (*LINES, *BREAKS, *CHANGES):
        small, large = line.value(MILLION, constants), line.value(BILLION, constants)
        if line.value in (plan.graph_bytes, plan.planned_rate, plan.p99_planned):
            assert small == pytest.approx(large)
        elif line.value in (plan.log_seconds, plan.newest_log_seconds):
            assert small > large
        else:
            assert 0 < small <= large, line.name


def test_a_constant_that_is_missing_is_named_and_not_invented(tmp_path: Path) -> None:
    lacking = made_constants(tmp_path, left_out="tweets_row")
    with pytest.raises(NotMeasured, match="SQL, a row of tweets"):
        plan.sql_bytes(MILLION, lacking)
    text = plan_table(LINES, lacking, ASSUMED)
    assert "lacks “SQL, a row of tweets” (bytes) of storage" in text
    assert f"lacks “100 M, {plan.PLANNED}: planned for”" in text


def test_assumptions_have_reasons() -> None:
    assert all(name and value and why for name, value, _, why in rows(ASSUMED))
