"""What a process holds in memory of the online network under one model version, laid out as a request reads it.

Shape suffixes: M a user and the followees, N followees with a vector, E entries of a timeline, C candidates, H hashes.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal, TypeVar

import numkong
import numpy as np
import numpy.typing as npt

from contract.changelog import EVERYTHING
from contract.graph import TimelineEntry, UserView
from contract.runtime import Attended
from service.table import Bools, Hashes, Ints, Table, hash_of

Timeline = npt.NDArray[np.int64]
"""A timeline, newest first: tweets' rows and times (Unix ms), int64 [2, E]."""

NO_ENTRIES: Timeline = np.empty((2, 0), dtype=np.int64)

_BYTES_OF_A_ROW = 400
"""Beside its vector: its id, its place in a dict, its hash."""
_BYTES_OF_A_VIEW = 1_000
_BYTES_OF_A_TIMELINE = 300


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


_NOT_HELD = AuthorTimeline(NO_ENTRIES, 0, -1)
_SERIAL = attrgetter("serial")


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

    def holds(self, view: View, timelines: dict[str, AuthorTimeline]) -> bool:
        """Whether nothing changed of what is held."""
        found = map(timelines.get, view.followee_ids, itertools.repeat(_NOT_HELD))
        return self.view is view and list(map(_SERIAL, found)) == self.serials


@dataclass(frozen=True, slots=True)
class People:
    """What a version makes of a user and the followees: it holds as long as the view is the one and no vector changed.

    `place_N` are the places in the view of the followees who have a vector.
    """

    view: View
    changes: int
    place_N: Ints
    attended: Attended
    packed: numkong.PackedMatrix
    """The directions, as candidates' vectors are multiplied by them."""

    @property
    def known(self) -> bool:
        """Whether the model knows anything of this user."""
        return self.attended.knows_user or len(self.place_N) > 0

    @property
    def nbytes(self) -> int:
        """Roughly."""
        attended = self.attended
        arrays = (attended.directions_2D, attended.attention_N, self.packed, self.place_N)
        return _BYTES_OF_A_VIEW + sum(int(array.nbytes) for array in arrays)


K = TypeVar("K", View, AuthorTimeline, Selection, People)


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
    people: dict[str, People] = field(default_factory=dict)
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
        """Keep one in its dict, in the place of what was there."""
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
                    self._drop(self.people, id_)
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


def among(hashes_C: Hashes, sorted_H: Hashes) -> Bools:
    """Which of some hashes are among others that are sorted."""
    if not len(sorted_H):
        return np.zeros(len(hashes_C), dtype=bool)
    found: Bools = sorted_H[np.minimum(np.searchsorted(sorted_H, hashes_C), len(sorted_H) - 1)] == hashes_C
    return found
