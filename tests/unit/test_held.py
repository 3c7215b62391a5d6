"""What a process holds: rows, growth, and what the log of changes drops."""

from collections.abc import Callable

import numpy as np
import pytest

from contract.graph import TimelineEntry, UserView
from contract.runtime import Attended
from service.held import Held, People, Selection, View, among
from service.table import ABSENT, PRESENT, UNKNOWN, Table, hash_of, packed_directions


def held() -> Held:
    """Two users with views, two timelines, vectors of two tweets and two users."""
    made = Held("v1", dim=2)
    for user in ("u1", "u2"):
        view = made.view(user, UserView(exists=True, followee_ids=["a1", "a2"], seen_tweet_ids={"t9"}))
        made.keep(made.views, user, view)
    for author in ("a1", "a2"):
        made.keep(made.timelines, author, made.timeline([TimelineEntry(f"{author}-t", author, 1)], 200))
    made.recent = made.entries([TimelineEntry("a1-t", "a1", 1)])
    serials = [timeline.serial for timeline in made.timelines.values()]
    made.keep(made.selections, "u1", Selection(made.views["u1"], serials, made.recent))
    made.keep(made.people, "u1", people_of(made.views["u1"]))
    made.tweets.put(["a1-t", "a2-t"], ["a1-t", "a2-t"], np.ones((2, 2), dtype=np.float16))
    made.users.put(["u1", "u2"], ["u1", "u2"], np.ones((2, 2), dtype=np.float16))
    return made


def people_of(view: View) -> People:
    """Of a user who has a vector and follows nobody who has one."""
    directions_2D = np.ones((2, 2), dtype=np.float32)
    attended = Attended(directions_2D, np.empty(0, dtype=np.float32), True)
    return People(view, 0, np.empty(0, dtype=np.int64), attended, packed_directions(directions_2D))


def left(made: Held) -> dict[str, list[str]]:
    present = {
        name: [id_ for row, id_ in enumerate(table.ids) if table.state_R[row] == PRESENT]
        for name, table in (("tweets", made.tweets), ("users", made.users))
    }
    recent = [] if made.recent is None else ["recent"]
    return present | {
        "views": list(made.views),
        "timelines": list(made.timelines),
        "selections": list(made.selections),
        "people": list(made.people),
        "recent": recent,
    }


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("user:u1", {"views": ["u2"], "selections": [], "people": []}),
        ("follow:u1", {"views": ["u2"], "selections": [], "people": []}),
        ("seen:u2", {"views": ["u1"]}),
        ("hidden:u2", {"views": ["u1"]}),
        ("follow:*", {"views": [], "selections": [], "people": []}),
        ("timeline:a1", {"timelines": ["a2"]}),
        ("timeline:*", {"timelines": []}),
        ("recent", {"recent": []}),
        ("v:v1:t:a1-t", {"tweets": ["a2-t"]}),
        ("v:v1:t:*", {"tweets": []}),
        ("v:v1:u:u2", {"users": ["u1"]}),
        ("v:v1:u:*", {"users": []}),
        ("v:v2:t:a1-t", {}),
        ("v:v2:t:*", {}),
        ("timeline:unheard-of", {}),
        ("retweets", {}),
    ],
)
def test_a_change_drops_what_it_touches_and_nothing_else(name: str, gone: dict[str, list[str]]) -> None:
    made = held()
    before = left(made)
    assert made.drop([name])
    assert left(made) == before | gone


def test_after_a_change_of_everything_nothing_of_it_may_be_used() -> None:
    assert not held().drop(["timeline:a1", "*"])


def test_a_selection_holds_while_nothing_was_read_anew() -> None:
    made = held()
    selection, view = made.selections["u1"], made.views["u1"]
    assert selection.holds(view, made.timelines)
    assert not selection.holds(made.views["u2"], made.timelines)
    made.keep(made.timelines, "a3", made.timeline([TimelineEntry("a3-t", "a3", 1)], 200))
    assert selection.holds(view, made.timelines)
    made.keep(made.timelines, "a2", made.timeline([TimelineEntry("a2-t", "a2", 1)], 200))
    assert not selection.holds(view, made.timelines)
    made.drop(["timeline:a2"])
    assert not selection.holds(view, made.timelines)


def test_what_takes_the_place_of_something_is_counted_once_and_given_back_when_dropped() -> None:
    made = Held("v1", dim=2)
    entries = [TimelineEntry(f"t{n}", "a1", n) for n in range(100)]
    for _ in range(10):
        user = UserView(exists=True, followee_ids=[f"a{n}" for n in range(100)], seen_tweet_ids=set())
        made.keep(made.views, "u1", made.view("u1", user))
        made.keep(made.timelines, "a1", made.timeline(entries, 200))
        made.keep(made.people, "u1", people_of(made.views["u1"]))
    rows = Held("v1", dim=2)
    rows.view("u1", user)
    rows.timeline(entries, 200)
    kept = (made.views["u1"], made.timelines["a1"], made.people["u1"])
    assert made.nbytes - rows.nbytes == sum(one.nbytes for one in kept)
    made.drop(["user:u1", "timeline:a1"])
    assert made.nbytes == rows.nbytes > 0


def test_a_table_grows_and_keeps_what_it_has() -> None:
    table = Table(3)
    ids = [f"t{n}" for n in range(5_000)]
    vectors_KD = np.arange(15_000, dtype=np.float16).reshape(5_000, 3)
    table.put(ids, ids, vectors_KD)
    rows = table.rows(ids)
    assert rows.tolist() == list(range(5_000))
    np.testing.assert_array_equal(table.vectors_RD[rows], vectors_KD)
    assert table.present(rows).all()
    assert table.hash_R[rows].tolist() == [hash_of(id_) for id_ in ids]
    assert table.owner_R[5_000] == -1


def test_what_a_store_does_not_have_is_absent_and_not_asked_again() -> None:
    table = Table(2)
    rows = table.rows(["here", "gone", "here"])
    assert table.unknown(rows) == ["here", "gone"]
    table.put(["here", "gone"], ["here"], np.ones((1, 2), dtype=np.float16))
    assert table.state_R[rows].tolist() == [PRESENT, ABSENT, PRESENT]
    assert table.unknown(rows) == []
    table.forget("gone")
    table.forget("never heard of")
    assert table.state_R[rows].tolist() == [PRESENT, UNKNOWN, PRESENT]


def test_every_change_of_some_rows_is_counted() -> None:
    table = Table(2)
    ids = [f"u{n}" for n in range(5_000)]
    rows = table.rows(["u0", "u1", "u2"])
    counts = [table.changes(rows)]
    some: list[Callable[[], None]] = [
        lambda: table.put(["u0", "u1"], ["u0"], np.ones((1, 2), dtype=np.float16)),
        lambda: table.put(["u0"], ["u0"], np.ones((1, 2), dtype=np.float16)),
        lambda: table.forget("u0"),
        table.forget_absent,
        table.forget_all,
    ]
    for change in some:
        change()
        counts.append(table.changes(rows))
    assert counts == sorted(set(counts))
    at_last = counts[-1]
    table.put(ids[3:], ids[3:], np.ones((len(ids) - 3, 2), dtype=np.float16))  # the table grows
    table.forget("u3")
    assert table.changes(rows) == at_last


@pytest.mark.parametrize("count", [0, 1, 255, 256, 2_047, 2_048, 2_049, 5_000])
def test_products_are_those_of_the_rows(count: int) -> None:
    generator = np.random.default_rng(0)
    table = Table(5)
    ids = [f"t{n}" for n in range(6_000)]
    vectors_KD = generator.normal(size=(6_000, 5)).astype(np.float16)
    table.put(ids, ids, vectors_KD)
    rows_C = generator.permutation(6_000)[:count]
    for scale in (1e-3, 1.0, 1e3):
        directions_2D = (scale * generator.normal(size=(2, 5))).astype(np.float32)
        expected_2C = directions_2D @ vectors_KD[rows_C].astype(np.float32).T
        np.testing.assert_allclose(
            table.products(rows_C, packed_directions(directions_2D)), expected_2C, rtol=1e-5, atol=1e-6 * scale
        )


def test_hashes_among_others() -> None:
    hashes = np.array([hash_of(f"t{n}") for n in range(100)], dtype=np.uint64)
    some = np.sort(hashes[::3])
    assert among(hashes, some).tolist() == [n % 3 == 0 for n in range(100)]
    assert not among(hashes, some[:0]).any()
