"""How the personal and the social facet of a candidate make the score: once, for torch's tensors and NumPy's arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Link = Literal["product", "softplus", "sum", "personal", "social"]


@dataclass(frozen=True)
class ArrayFunctions:
    """What tensors and arrays name differently; softplus(a) = log(1 + exp(a))."""

    where: Callable[..., Any]
    zeros_like: Callable[[Any], Any]
    softplus: Callable[[Any], Any]


NUMPY = ArrayFunctions(np.where, np.zeros_like, lambda facet: np.logaddexp(facet, np.float32(0)))


def combine(
    link: Link, f_BC: Any, h_BC: Any, has_personal_B1: Any, has_social_B1: Any, by: ArrayFunctions
) -> tuple[Any, Any, Any]:
    """Score, personal part and social part of a link; B may be left out. The products of a facet that is absent are 0.

    product    f h, the paper's equation 4
    softplus   softplus(f) softplus(h): positive factors, so that two dislikes do not multiply to a like
    sum        f + h
    personal   f alone, social   h alone
    """
    match link:
        case "sum":
            return f_BC + h_BC, f_BC, h_BC
        case "personal":
            return f_BC, f_BC, by.zeros_like(f_BC)
        case "social":
            return h_BC, by.zeros_like(h_BC), h_BC
        case "softplus":
            f_BC, h_BC = by.softplus(f_BC), by.softplus(h_BC)
    personal_BC, social_BC = by.where(has_personal_B1, f_BC, 1.0), by.where(has_social_B1, h_BC, 1.0)
    return personal_BC * social_BC, personal_BC, social_BC
