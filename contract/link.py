"""How the personal and the social facet of a candidate make the score: once, for torch's tensors and NumPy's arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

Link = Literal["product", "softplus", "sum", "personal", "social"]

Facet = TypeVar("Facet")


@dataclass(frozen=True)
class ArrayFunctions:
    """What tensors and arrays name differently; softplus(a) = log(1 + exp(a))."""

    where: Callable[..., Any]
    zeros_like: Callable[[Any], Any]
    softplus: Callable[[Any], Any]


NUMPY = ArrayFunctions(np.where, np.zeros_like, lambda facet: np.logaddexp(facet, np.float32(0)))


def combine(
    link: Link, f_BC: Facet, h_BC: Facet, has_personal_B1: Any, has_social_B1: Any, by: ArrayFunctions
) -> tuple[Facet, Facet, Facet]:
    """Score, personal part and social part of a link; B may be left out. The products of a facet that is absent are 0.

    product    f h, the paper's equation 4
    softplus   softplus(f) softplus(h): positive factors, so that two dislikes do not multiply to a like
    sum        f + h
    personal   f alone, social   h alone
    """
    f: Any = f_BC
    h: Any = h_BC
    match link:
        case "sum":
            return f + h, f, h
        case "personal":
            return f, f, by.zeros_like(f)
        case "social":
            return h, by.zeros_like(h), h
        case "softplus":
            f, h = by.softplus(f), by.softplus(h)
    personal, social = by.where(has_personal_B1, f, 1.0), by.where(has_social_B1, h, 1.0)
    return personal * social, personal, social
