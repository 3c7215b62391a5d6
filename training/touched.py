"""What the shares of a batch touch of Psi: of a row that several touch, each counts but a part of the squares.

Shape suffixes: M distinct numbers of rows that a share touches, N that any does, D dimensions.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.network import Ints


@dataclass(frozen=True)
class Touched:
    """How many shares of a batch touch each row of a table."""

    number_N: Ints
    shares_N: Ints

    @classmethod
    def by(cls, number_M: Iterable[Ints]) -> "Touched":
        """From what each share touches."""
        return cls(*np.unique(np.concatenate([*number_M]), return_counts=True))

    def part_of(self, number_M: Tensor) -> Tensor:
        """What one share counts of rows that it touches, float64 [M]."""
        return 1 / torch.from_numpy(self.shares_N[np.searchsorted(self.number_N, number_M.numpy())]).double()


class Psi(NamedTuple):
    """What the shares of a batch touch of the tables; None: all counts, since there is one share, or no such table."""

    users: Touched | None
    tweets: Touched | None
    words: Touched | None


ALL = Psi(None, None, None)


def squares(rows_MD: Tensor, number_M: Tensor, touched: Touched | None) -> Tensor:
    """The sum of the rows' squares, as far as they count; None: all, since there is but one share."""
    if touched is None:
        return rows_MD.square().sum()
    return rows_MD.square().sum(dim=1) @ touched.part_of(number_M).to(rows_MD)
