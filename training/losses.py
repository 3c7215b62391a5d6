"""Pairwise ranking losses. Shape suffixes: B triples of a user, a retweeted tweet and one that was not."""

from torch import Tensor
from torch.nn import functional


def hinge(positive_B: Tensor, negative_B: Tensor, margin: float) -> Tensor:
    """Mean of max(0, c + F(z_k) - F(z_i)) (paper, equation 5)."""
    return functional.relu(margin + negative_B - positive_B).mean()


def bpr(positive_B: Tensor, negative_B: Tensor) -> Tensor:
    """Mean of -ln sigmoid(F(z_i) - F(z_k)) (Rendle et al., UAI 2009)."""
    return functional.softplus(negative_B - positive_B).mean()
