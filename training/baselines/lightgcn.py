"""LightGCN: factors averaged over the retweet graph (He et al., SIGIR 2020), today's anchor.

Shape suffixes: N users and tweets one after the other, B positives, K negatives of each, D dimensions.
"""

import warnings

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array
from torch import Tensor, nn

from contract.progress import Progress
from training.baselines.settings import BaselineSettings
from training.evaluate import Scorer
from training.factors import dot
from training.indexing import pair_matrix
from training.network import Ints
from training.problem import CandidateLists, Floats, Problem
from training.sampling import triple_sampler
from training.trainer import Curve, Pairs, train

LAYERS = 2


class LightGcn(nn.Module):
    """The mean over layers 0 .. LAYERS of the symmetrically normalised propagation of free vectors."""

    def __init__(self, problem: Problem, settings: BaselineSettings) -> None:
        super().__init__()
        self.users, self.l2 = problem.users, settings.l2
        free_ND = torch.randn(problem.users + problem.tweets, settings.dim) * settings.init_std
        free_ND[torch.from_numpy(problem.silent_users)] = 0
        self.free = nn.Parameter(free_ND)
        self.graph_NN = normalised_graph(problem)

    def propagated(self) -> Tensor:
        """Vectors of users, then tweets, float32 [N, D]."""
        layer_ND: Tensor = self.free
        total_ND = layer_ND
        for _ in range(LAYERS):
            layer_ND = self.graph_NN @ layer_ND
            total_ND = total_ND + layer_ND
        return total_ND / (LAYERS + 1)

    def pairs(self, user_B: Ints, positive_B: Ints, negative_BK: Ints) -> Pairs:
        """Scores of triples."""
        vectors_ND = self.propagated()
        place_BC = torch.from_numpy(np.concatenate([positive_B[:, None], negative_BK], axis=1)) + self.users
        user_B1 = torch.from_numpy(user_B)
        score_BC = torch.bmm(vectors_ND[place_BC], vectors_ND[user_B1][:, :, None]).squeeze(2)
        squares = self.free[user_B1].square().sum() + self.free[place_BC].square().sum()
        return Pairs(score_BC[:, 0], score_BC[:, 1:], self.l2 * squares)

    @torch.inference_mode()
    def score(self, lists: CandidateLists) -> Floats:
        """Float32 [C]."""
        vectors_ND = self.propagated()
        return dot(
            vectors_ND, torch.from_numpy(lists.user_C), vectors_ND[self.users :], torch.from_numpy(lists.tweet_C)
        )

    def scorer(self) -> Scorer:
        """Scores of candidates by the model as it is now."""
        return self.score


def normalised_graph(problem: Problem) -> Tensor:
    """D^-1/2 A D^-1/2 of the graph of users and tweets, sparse float32 [N, N]."""
    nodes = problem.users + problem.tweets
    ends = np.stack([problem.user_P, problem.users + problem.tweet_P])
    both = np.concatenate([ends, ends[::-1]], axis=1)
    graph = pair_matrix(both[0], both[1], (nodes, nodes)).astype(np.float32)
    scale = diags_array(1 / np.sqrt(np.maximum(graph.sum(axis=1), 1)))
    graph = csr_array(scale @ graph @ scale)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR|invariant)")  # beta, and checks that are off by default
        return torch.sparse_csr_tensor(
            torch.from_numpy(graph.indptr.astype(np.int64)),
            torch.from_numpy(graph.indices.astype(np.int64)),
            torch.from_numpy(graph.data.astype(np.float32)),
            size=graph.shape,
        )


def fit(problem: Problem, settings: BaselineSettings, seed: int, progress: Progress) -> tuple[Scorer, Curve]:
    """score = the dot product of propagated vectors, with the BPR loss."""
    torch.manual_seed(seed)
    model = LightGcn(problem, settings)
    sampler = triple_sampler(problem, settings.negatives)
    curve = train(model, sampler, problem.validation, settings.schedule(seed), progress, "lightgcn")
    return model.scorer(), curve
