"""Vectors by id, laid out as a ranking reads them.

Shape suffixes: R rows of a table, E entries of a timeline, C candidates, B of a block, K ids, D dimensions.
"""

from collections.abc import Sequence
from typing import Any

import numkong
import numpy as np
import numpy.typing as npt

from contract.vectors import Vectors
from service.cursor import tweet_hash

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

UNKNOWN, ABSENT, PRESENT = range(3)
"""Whether a row's vector was never read (or changed since), does not exist, or is there."""
_FIRST_ROWS = 1_024
_LOW_SCALE = np.float32(1_024)
_BLOCK = 2_048


class Table:
    """Vectors by id, each in a row that it keeps: fp16 [R, D]. `owner_R` is the author's row, of tweets."""

    def __init__(self, dim: int) -> None:
        self.ids: list[str] = []
        self._row_of: dict[str, int] = {}
        self.vectors_RD: Vectors = np.empty((_FIRST_ROWS, dim), dtype=np.float16)
        self.state_R: npt.NDArray[np.int8] = np.zeros(_FIRST_ROWS, dtype=np.int8)
        self.hash_R: Hashes = np.empty(_FIRST_ROWS, dtype=np.uint64)
        self.owner_R: Ints = np.full(_FIRST_ROWS, -1, dtype=np.int64)
        self.changes_R: Ints = np.zeros(_FIRST_ROWS, dtype=np.int64)
        self.last_R: Ints = np.empty(_FIRST_ROWS, dtype=np.int64)
        """Scratch space of `latest`."""
        self._block_BD: Vectors | None = None
        """Scratch space of `products`."""

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
        self.changes_R[rows] += 1

    def forget(self, id_: str) -> None:
        """Read it anew before it is used again."""
        if (row := self._row_of.get(id_)) is not None:
            self._forget(row)

    def forget_all(self) -> None:
        """Read all anew."""
        self._forget(slice(None))

    def forget_absent(self) -> None:
        """Read anew those that had none."""
        self._forget(self.state_R == ABSENT)

    def changes(self, rows: Ints) -> int:
        """How often any of some rows changed: as long as it is the same, so are they."""
        return int(self.changes_R.take(rows).sum())

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

    def products(self, rows_C: Ints, packed: numkong.PackedMatrix) -> npt.NDArray[np.float32]:
        """Some rows' vectors times two directions, float32 [2, C]."""
        facets_2C: npt.NDArray[np.float32] = np.empty((2, len(rows_C)), dtype=np.float32)
        if self._block_BD is None:
            self._block_BD = np.empty((_BLOCK, self.vectors_RD.shape[1]), dtype=np.float16)
        for start in range(0, len(rows_C), _BLOCK):
            rows_B, facets_2B = rows_C[start : start + _BLOCK], facets_2C[:, start : start + _BLOCK]
            block_BD = self._block_BD[: len(rows_B)]
            np.take(self.vectors_RD, rows_B, axis=0, out=block_BD, mode="clip")  # "raise" takes a copy
            parts_4B = np.asarray(numkong.dots_packed(block_BD, packed)).T
            np.multiply(parts_4B[2:], 1 / _LOW_SCALE, out=facets_2B)
            facets_2B += parts_4B[:2]
        return facets_2C

    def latest(self, rows_E: Ints) -> Bools:
        """Which entries are the last ones of their row."""
        place_E = np.arange(len(rows_E))
        self.last_R[rows_E] = place_E
        latest: Bools = self.last_R[rows_E] == place_E
        return latest

    def _forget(self, rows: Any) -> None:
        self.state_R[rows] = UNKNOWN
        self.changes_R[rows] += 1

    def _grow(self) -> None:
        for name in ("vectors_RD", "state_R", "hash_R", "owner_R", "changes_R", "last_R"):
            old: npt.NDArray[Any] = getattr(self, name)
            new = np.zeros((2 * len(old), *old.shape[1:]), dtype=old.dtype)  # takes no memory until it is written
            new[: len(old)] = old
            setattr(self, name, new)
        self.owner_R[len(self.ids) :] = -1


def packed_directions(directions_2D: npt.NDArray[np.float32]) -> numkong.PackedMatrix:
    """Two directions within the range of fp16, as `Table.products` takes them.

    Vectors stay fp16, half of what has to be read; a direction goes as two fp16 numbers: 22 bits of it, or 3e-11.
    """
    high_2D = directions_2D.astype(np.float16)
    low_2D = ((directions_2D - high_2D) * _LOW_SCALE).astype(np.float16)
    return numkong.dots_pack(np.concatenate([high_2D, low_2D]))


def hash_of(tweet_id: str) -> int:
    """The 8 bytes of `tweet_hash` as a number."""
    return int.from_bytes(tweet_hash(tweet_id), "little")
