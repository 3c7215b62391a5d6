"""How the personal and the social facet of a candidate make the score: once, for torch's tensors and NumPy's arrays.

And what each followee gives to the social facet. Shape suffixes: B users, C candidates, N followees, K tweets,
D dimensions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

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


def social_parts(
    attention_N: npt.NDArray[np.float32], followees_ND: npt.NDArray[Any], z_KD: npt.NDArray[Any]
) -> npt.NDArray[np.float32]:
    """What each followee gives to the social facet h of each tweet, a_q (u_q . z), float32 [K, N]; they add up to h.

    That they do is seen to by `OnnxModel.verify_golden`: ubar is the graph's.
    """
    with np.errstate(all="ignore"):  # what is not finite is the caller's to see
        parts_KN: npt.NDArray[np.float32] = attention_N * (z_KD.astype(np.float32) @ followees_ND.astype(np.float32).T)
    return parts_KN
