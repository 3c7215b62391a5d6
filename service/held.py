"""What a process holds in memory of the online network under one model version, laid out as a request reads it.

Shape suffixes: M a user and the followees, R rows of a table, E entries of a timeline, C candidates, H hashes,
D dimensions.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numkong
import numpy as np
import numpy.typing as npt

from contract.changelog import EVERYTHING
from contract.graph import TimelineEntry, UserView
from contract.vectors import Vectors
from service.cursor import tweet_hash

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

Timeline = npt.NDArray[np.int64]
"""A timeline, newest first: tweets' rows and times (Unix ms), int64 [2, E]."""

NO_ENTRIES: Timeline = np.empty((2, 0), dtype=np.int64)

UNKNOWN, ABSENT, PRESENT = range(3)
"""Whether a row's vector was never read (or changed since), does not exist, or is there."""
_FIRST_ROWS = 1_024
_LOW_SCALE = np.float32(1_024)
_BYTES_OF_A_ROW = 400
"""Beside its vector: its id, its place in a dict, its hash."""
_BYTES_OF_A_VIEW = 1_000
_BYTES_OF_A_TIMELINE = 300


class Table:
    """Vectors by id, each in a row that it keeps: fp16 [R, D]. `owner_R` is the author's row, of tweets."""

    def __init__(self, dim: int) -> None:
        self.ids: list[str] = []
        self._row_of: dict[str, int] = {}
        self.vectors_RD: Vectors = np.empty((_FIRST_ROWS, dim), dtype=np.float16)
        self.state_R: npt.NDArray[np.int8] = np.zeros(_FIRST_ROWS, dtype=np.int8)
        self.hash_R: Hashes = np.empty(_FIRST_ROWS, dtype=np.uint64)
        self.owner_R: Ints = np.full(_FIRST_ROWS, -1, dtype=np.int64)
        self.last_R: Ints = np.empty(_FIRST_ROWS, dtype=np.int64)
        """Scratch space of `latest`."""

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, id_: str) -> int:
        """An id's row; a new one is UNKNOWN."""
        row = self._row_of.get(id_)
        if row is None:
            row = self._row_of[id_] = len(self.ids)
            if row == len(self.state_R):
                self._grow()
            self.ids.append(id_)
            self.hash_R[row] = hash_of(id_)
        return row

    def rows(self, ids: Sequence[str]) -> Ints:
        """Rows of many."""
        return np.fromiter(map(self.row, ids), dtype=np.int64, count=len(ids))

    def put(self, asked: Sequence[str], found: Sequence[str], vectors_KD: Vectors) -> None:
        """What a store answered: `found` have vectors, fp16 [K, D], the others of those asked for have none."""
        rows, rows_K = self.rows(asked), self.rows(found)
        self.state_R[rows] = ABSENT
        self.vectors_RD[rows_K] = vectors_KD
        self.state_R[rows_K] = PRESENT

    def forget(self, id_: str) -> None:
        """Read it anew before it is used again."""
        if (row := self._row_of.get(id_)) is not None:
            self.state_R[row] = UNKNOWN

    def forget_all(self) -> None:
        """Read all anew."""
        self.state_R[:] = UNKNOWN

    def forget_absent(self) -> None:
        """Read anew those that had none."""
        self.state_R[self.state_R == ABSENT] = UNKNOWN

    def unknown(self, rows: Ints) -> list[str]:
        """Ids among some rows that must be read, each once."""
        unknown = self.state_R[rows] == UNKNOWN
        return [self.ids[row] for row in dict.fromkeys(rows[unknown].tolist())] if unknown.any() else []

    def all_present(self, rows: Ints) -> bool:
        """Whether all of some rows have a vector: the quick answer to most requests."""
        return bool(self.state_R.take(rows).min(initial=PRESENT) == PRESENT)

    def present(self, rows: Ints) -> Bools:
        """Which of some rows have a vector."""
        present: Bools = self.state_R[rows] == PRESENT
        return present

    def products(self, rows_C: Ints, directions_2D: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Some rows' vectors times two directions within the range of fp16, float32 [2, C].

        Vectors stay fp16, half of what has to be read; a direction goes as two fp16 numbers: 22 bits of it, or 3e-11.
        """
        if not len(rows_C):
            return np.empty((2, 0), dtype=np.float32)
        high_2D = directions_2D.astype(np.float16)
        low_2D = ((directions_2D - high_2D) * _LOW_SCALE).astype(np.float16)
        packed = numkong.dots_pack(np.concatenate([high_2D, low_2D]))
        parts_4C = np.asarray(numkong.dots_packed(self.vectors_RD.take(rows_C, axis=0), packed)).T
        facets_2C: npt.NDArray[np.float32] = np.empty((2, len(rows_C)), dtype=np.float32)
        np.multiply(parts_4C[2:], 1 / _LOW_SCALE, out=facets_2C)
        facets_2C += parts_4C[:2]
        return facets_2C

    def latest(self, rows_E: Ints) -> Bools:
        """Which entries are the last ones of their row."""
        place_E = np.arange(len(rows_E))
        self.last_R[rows_E] = place_E
        latest: Bools = self.last_R[rows_E] == place_E
        return latest

    def _grow(self) -> None:
        for name in ("vectors_RD", "state_R", "hash_R", "owner_R", "last_R"):
            old: npt.NDArray[Any] = getattr(self, name)
            new = np.empty((2 * len(old), *old.shape[1:]), dtype=old.dtype)
            new[: len(old)] = old
            new[len(old) :] = -1 if name == "owner_R" else 0
            setattr(self, name, new)


@dataclass(frozen=True, slots=True)
class View:
    """What is online of one user.

    `rows_M` are the user's and then the followees'; `seen_H` hashes of what they retweeted or hid, sorted.
    """

    followee_ids: list[str]
    rows_M: Ints
    seen_H: Hashes

    @property
    def nbytes(self) -> int:
        """Roughly."""
        return _BYTES_OF_A_VIEW + self.seen_H.nbytes + 9 * self.rows_M.nbytes


@dataclass(frozen=True, slots=True)
class AuthorTimeline:
    """The newest entries of a timeline: `depth` was asked for. `serial` is another one whenever it was read anew."""

    entries: Timeline
    depth: int
    serial: int

    @property
    def nbytes(self) -> int:
        """Roughly."""
        return int(self.entries.nbytes) + _BYTES_OF_A_TIMELINE


@dataclass(frozen=True, slots=True)
class Selection:
    """What was chosen of some timelines for a view: it holds as long as these are the ones."""

    view: View
    serials: list[int]
    entries: Timeline

    @property
    def nbytes(self) -> int:
        """Roughly."""
        return int(self.entries.nbytes) + 40 * len(self.serials)

    def holds(self, view: View, timelines: Sequence[AuthorTimeline]) -> bool:
        """Whether nothing changed."""
        return self.view is view and self.serials == [timeline.serial for timeline in timelines]


K = TypeVar("K", View, AuthorTimeline, Selection)


@dataclass
class Held:
    """All of one version. What the log of changes names is dropped, and read anew when it is asked for next."""

    version: str
    dim: int
    tweets: Table = field(init=False)
    users: Table = field(init=False)
    views: dict[str, View] = field(default_factory=dict)
    timelines: dict[str, AuthorTimeline] = field(default_factory=dict)
    selections: dict[str, Selection] = field(default_factory=dict)
    recent: Timeline | None = None
    _entry_bytes: int = 0
    _serials: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.tweets, self.users = Table(self.dim), Table(self.dim)

    @property
    def nbytes(self) -> int:
        """Roughly, of what was read so far."""
        rows = len(self.tweets) + len(self.users)
        return rows * (2 * self.dim + _BYTES_OF_A_ROW) + self._entry_bytes

    def table(self, kind: Literal["t", "u"]) -> Table:
        """Of tweets or of users."""
        return self.tweets if kind == "t" else self.users

    def view(self, user_id: str, view: UserView) -> View:
        """A user's view."""
        seen_H = np.array(sorted(map(hash_of, view.seen_tweet_ids)), dtype=np.uint64)
        return View(view.followee_ids, self.users.rows([user_id, *view.followee_ids]), seen_H)

    def timeline(self, entries: Sequence[TimelineEntry], depth: int) -> AuthorTimeline:
        """An author's timeline, of which the newest `depth` entries were asked for."""
        return AuthorTimeline(self.entries(entries), depth, next(self._serials))

    def keep(self, kept: dict[str, K], id_: str, one: K) -> None:
        """Keep a view, a timeline or a selection in its dict, in the place of what was there."""
        self._drop(kept, id_)
        kept[id_] = one
        self._entry_bytes += one.nbytes

    def entries(self, entries: Sequence[TimelineEntry]) -> Timeline:
        """Timeline entries as they are held."""
        rows_E = self.tweets.rows([entry.tweet_id for entry in entries])
        self.tweets.owner_R[rows_E] = self.users.rows([entry.author_id for entry in entries])
        return np.stack([rows_E, np.array([entry.at_ms for entry in entries], dtype=np.int64)])

    def drop(self, names: Iterable[str]) -> bool:
        """Drop what keys of Redis hold, by their names in the log of changes; False where it is better all dropped."""
        for name in names:
            family, _, id_ = name.rpartition(":")
            match family.split(":"):
                case ["user" | "follow" | "seen" | "hidden"]:
                    self._drop(self.views, id_)
                    self._drop(self.selections, id_)
                case ["timeline"]:
                    self._drop(self.timelines, id_)
                case ["v", self.version, "t" | "u" as kind]:
                    table = self.table(kind)
                    table.forget_all() if id_ == EVERYTHING else table.forget(id_)
                case [""] if name == EVERYTHING:
                    return False
                case [""] if name == "recent":
                    self.recent = None
        return True

    def forget_absent(self) -> None:
        """Read those vectors anew that were not there."""
        self.tweets.forget_absent()
        self.users.forget_absent()

    def _drop(self, kept: dict[str, Any], id_: str) -> None:
        if id_ == EVERYTHING:
            self._entry_bytes -= sum(one.nbytes for one in kept.values())
            kept.clear()
        elif (one := kept.pop(id_, None)) is not None:
            self._entry_bytes -= one.nbytes


def hash_of(tweet_id: str) -> int:
    """The 8 bytes of `tweet_hash` as a number."""
    return int.from_bytes(tweet_hash(tweet_id), "little")


def among(hashes_C: Hashes, sorted_H: Hashes) -> Bools:
    """Which of some hashes are among others that are sorted."""
    if not len(sorted_H):
        return np.zeros(len(hashes_C), dtype=bool)
    found: Bools = sorted_H[np.minimum(np.searchsorted(sorted_H, hashes_C), len(sorted_H) - 1)] == hashes_C
    return found
