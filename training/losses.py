"""Pairwise ranking losses. Shape suffixes: B positives, K negatives of each; the positives broadcast as [B, 1]."""

import torch
from torch import Tensor
from torch.nn import functional


def hinge(positive_B1: Tensor, negative_BK: Tensor, margin: float) -> Tensor:
    """Mean of max(0, c + F(z_k) - F(z_i)) (paper, equation 5)."""
    return functional.relu(margin + negative_BK - positive_B1).mean()


def bpr(positive_B1: Tensor, negative_BK: Tensor) -> Tensor:
    """Mean of -ln sigmoid(F(z_i) - F(z_k)) (Rendle et al., UAI 2009)."""
    return functional.softplus(negative_BK - positive_B1).mean()


def sampled_softmax(positive_B1: Tensor, negative_BK: Tensor) -> Tensor:
    """Mean of -ln of the positive's share in a softmax over it and its negatives."""
    logits_BK1 = torch.cat([positive_B1, negative_BK], dim=1)
    return (torch.logsumexp(logits_BK1, dim=1) - logits_BK1[:, 0]).mean()
