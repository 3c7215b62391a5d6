import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.made_runs import write_marker, write_run
from training.evaluate import METRICS
from training.results import breakdowns, breakdowns_json, collect, paired, results_json
from training.runs import Key, diverged, not_for_network, unfinished

AMNL = Key("made", "primary", 80, "amnl", 64)
FAMF = AMNL._replace(system="famf")


def test_the_interval_contains_the_mean_and_shrinks_with_more_users(tmp_path: Path) -> None:
    for users in (50, 5_000):
        write_run(tmp_path / str(users), users=users)
    few, many = (collect(tmp_path / str(users))[0] for users in (50, 5_000))
    for row, users in ((few, 50), (many, 5_000)):
        assert row.users == users
        assert all(low < mean < high for mean, low, high in row.of.values())
    spread = [row.of["auc"].high - row.of["auc"].low for row in (few, many)]
    assert spread[1] == pytest.approx(spread[0] / 10, rel=0.3)


def test_the_interval_is_that_of_a_mean(tmp_path: Path) -> None:
    write_run(tmp_path, value_L=np.arange(400) % 2)
    mean, low, high = collect(tmp_path)[0].of["auc"]
    assert mean == 0.5
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.006)


def test_seeds_are_averaged_before_users_are_drawn(tmp_path: Path) -> None:
    """Two seeds that disagree on every user agree on average, so nothing is left to vary."""
    write_run(tmp_path, seed=0, value_L=np.arange(40) % 2)
    write_run(tmp_path, seed=1, value_L=1 - np.arange(40) % 2)
    (row,) = collect(tmp_path)
    assert (row.seeds, row.users) == (2, 40)
    assert row.of["p@1"] == (0.5, 0.5, 0.5)


def test_the_same_runs_give_the_same_intervals(tmp_path: Path) -> None:
    write_run(tmp_path)
    assert collect(tmp_path) == collect(tmp_path)


def test_users_without_a_metric_do_not_count_for_it(tmp_path: Path) -> None:
    write_run(tmp_path, value_L=np.array([0.2, np.nan, 0.4]))
    assert collect(tmp_path)[0].of["auc"].mean == pytest.approx(0.3)


def test_a_metric_of_nobody_is_null(tmp_path: Path) -> None:
    write_run(tmp_path, value_L=np.full(3, np.nan))
    (row,) = results_json(collect(tmp_path))
    assert row["auc"] is row["auc_low"] is row["mrr"] is None


def test_identical_runs_differ_by_nothing(tmp_path: Path) -> None:
    write_run(tmp_path, "amnl")
    write_run(tmp_path, "famf")
    assert paired(tmp_path, AMNL, FAMF, "auc") == (0, 0, 0)


def test_a_difference_over_the_same_users_is_surer_than_the_means(tmp_path: Path) -> None:
    value_L = np.random.default_rng(0).random(200)
    write_run(tmp_path, "amnl", value_L=value_L + 0.1)
    write_run(tmp_path, "famf", value_L=value_L[:150])
    assert paired(tmp_path, AMNL, FAMF, "p@3") == pytest.approx((0.1, 0.1, 0.1))
    assert paired(tmp_path, FAMF, AMNL, "p@3").mean == pytest.approx(-0.1)


def test_a_difference_to_what_was_not_run(tmp_path: Path) -> None:
    write_run(tmp_path, "amnl")
    with pytest.raises(KeyError):
        paired(tmp_path, AMNL, FAMF, "auc")


def test_breakdowns_divide_the_users(tmp_path: Path) -> None:
    value_L = np.arange(48) % 2 * 0.5
    write_run(tmp_path, value_L=value_L)
    parts = breakdowns(tmp_path)
    assert [(part.by, part.group) for part in parts] == [
        *(("tweets", group) for group in ("cold", "warm")),
        *(("history", group) for group in ("0", "1-4", "5-19", "20+")),
        *(("followees", group) for group in ("1-2", "3-9", "10+")),
    ]
    for by in ("tweets", "history", "followees"):
        assert sum(part.users for part in parts if part.by == by) == 48
    assert [part.of["auc"].mean for part in parts if part.by == "tweets"] == [0, 0.5]


def test_who_follows_nobody_is_a_group_of_its_own(tmp_path: Path) -> None:
    folder = write_run(tmp_path, protocol="secondary", users=6)
    with np.load(folder / "users.npz") as file:
        people = dict(file)
    np.savez(folder / "users.npz", allow_pickle=False, **people | {"followees_L": np.array([0, 0, 1, 2, 3, 10])})
    users = {part.group: part.users for part in breakdowns(tmp_path) if part.by == "followees"}
    assert users == {"0": 2, "1-2": 2, "3-9": 1, "10+": 1}


def test_a_group_without_users_is_left_out(tmp_path: Path) -> None:
    write_run(tmp_path, users=1)
    assert [part.group for part in breakdowns(tmp_path)] == ["cold", "0", "1-2"]


def test_json_has_exactly_these_fields(tmp_path: Path) -> None:
    write_run(tmp_path, seed=0)
    write_run(tmp_path, seed=1, settings={"learning_rate": 0.05})
    (row,) = results_json(collect(tmp_path))
    interval = [f"{name}{end}" for name in ("p_at_1", "p_at_3", "auc") for end in ("", "_low", "_high")]
    named = ["network", "protocol", "split", "system", "dim", "seeds", "users", *interval, "ndcg_at_10", "mrr"]
    assert list(row) == [*named, "seed_numbers", "settings", "git_revision"]
    assert row["seed_numbers"] == [0, 1]
    assert row["settings"] == {"learning_rate": [0.02, 0.05]}
    part = breakdowns_json(breakdowns(tmp_path))[0]
    assert (part["by"], part["group"], part["users"]) == ("tweets", "cold", 20)


def test_each_metric_is_under_its_own_name(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    with np.load(folder / "users.npz") as file:
        means = {name: float(file[name].mean()) for name in METRICS}
    (row,) = results_json(collect(tmp_path))
    names = {"p@1": "p_at_1", "p@3": "p_at_3", "auc": "auc", "ndcg@10": "ndcg_at_10", "mrr": "mrr"}
    assert {name: row[name] for name in names.values()} == pytest.approx({names[name]: means[name] for name in names})
    assert len(set(means.values())) == len(METRICS)


def test_the_share_of_warm_tweets_is_that_of_all_lists(tmp_path: Path) -> None:
    write_run(tmp_path, "amnl", users=41)
    write_run(tmp_path, "famf", warm=False)
    assert [row.warm for row in collect(tmp_path)] == [20 / 41, 0]


def test_runs_that_came_to_nothing(tmp_path: Path) -> None:
    write_marker(tmp_path, "flickr-primary-80-famf_visual-s1")
    write_marker(tmp_path, "made-secondary-80-amnl_i_(product)-d400-s0")
    write_marker(tmp_path, "made-primary-60-amnl-s2", diverged=True)
    (tmp_path / "notes.txt").write_text("not a run")
    assert diverged(tmp_path) == ["made-primary-60-amnl-s2"]
    assert not_for_network(tmp_path) == {
        ("flickr", "primary", "famf_visual"),
        ("made", "secondary", "amnl_i_(product)"),
    }


def test_an_unfinished_run_is_left_out(tmp_path: Path) -> None:
    (write_run(tmp_path, "amnl") / "users.npz").unlink()
    write_run(tmp_path, "famf")
    (tmp_path / "notes.txt").write_text("not a run")
    assert [row.key for row in collect(tmp_path)] == [FAMF]
    assert unfinished(tmp_path) == ["made-primary-80-amnl-d64-s0"]


def test_a_draft_is_no_run_and_a_seed_counts_once(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "amnl", level=0.4)
    shutil.copytree(folder, tmp_path / ".draft")
    shutil.copytree(folder, tmp_path / "the-same-again")
    (row,) = collect(tmp_path)
    assert row.seeds == 1
    assert unfinished(tmp_path) == []


def test_no_runs_at_all(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert (collect(missing), breakdowns(missing), unfinished(missing)) == ([], [], [])
