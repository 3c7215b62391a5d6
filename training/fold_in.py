"""Fold-in: a vector for a user whom the model was not trained on, fitted to their retweets while all else is fixed.

Shape suffixes: P retweets, S draws of negatives for each, K negatives of a draw, R the P x S rows of the loss,
C candidates (a retweet and K negatives of it), N followees, D dimensions, 1 the one user.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.fx.experimental.proxy_tensor import make_fx

from training.model import Ranker
from training.settings import TrainingSettings
from training.train import schedule
from training.trainer import Pairs, pair_loss

DRAWS = 4
"""How often negatives are drawn for a retweet; training draws them anew in every epoch."""
STEPS = 20
RATE = 0.1
_LEAST = 1e-10
"""torch.optim.Adagrad adds it to the root; the ONNX exporter would take that for adding 0."""


class FoldIn(nn.Module):
    """What fold_in.onnx computes: u after STEPS steps of Adagrad from 0 on the training loss, from stored vectors.

    Beside the mean loss over P retweets stands |u|^2 / (2 P s^2), where s^2 is the mean square of the trained users'
    vectors: u is the most likely one if the loss is a likelihood and users are spread like those. Training's own beta
    is too little for who has few retweets, since training ends before it matters (docs/experiments.md).
    """

    def __init__(self, ranker: Ranker, settings: TrainingSettings, trained_UD: Tensor) -> None:
        super().__init__()
        self.ranker = copy.deepcopy(ranker).requires_grad_(False)
        self.schedule, self.dim = schedule(settings), settings.dim
        self.penalty = 1 / (2 * float(trained_UD.square().mean()))
        self.gradient = traced_gradient(self.objective, settings.dim, settings.negatives)

    def forward(self, followees_ND: Tensor, positive_PD: Tensor, negative_PSKD: Tensor) -> Tensor:
        """u, float32 [D], from fp16 vectors; N may be 0, P may not."""
        followees_ND = followees_ND.float()
        positive_PSD = positive_PD[:, None].expand(-1, negative_PSKD.shape[1], -1)
        z_PSCD = torch.cat([positive_PSD[:, :, None], negative_PSKD], dim=2).float()

        def step(state: tuple[Tensor, Tensor], _: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
            u_D, squares_D = state
            gradient_D = self.gradient(u_D, followees_ND, z_PSCD)
            squares_D = squares_D + gradient_D.square()
            u_D = u_D - RATE * gradient_D / squares_D.sqrt().clamp(min=_LEAST)
            return (u_D, squares_D), u_D[0].clone()  # scan wants an output a step, too

        state = (torch.zeros(self.dim), torch.zeros(self.dim))
        if torch.compiler.is_exporting():
            state, _ = scan(step, state, torch.zeros(STEPS))
        else:  # the same, without a compiler
            for number in torch.zeros(STEPS):
                state, _ = step(state, number)
        return state[0]

    def objective(self, u_D: Tensor, followees_ND: Tensor, z_PSCD: Tensor) -> Tensor:
        """Loss and penalty, a scalar."""
        retweets, draws, candidates, _ = z_PSCD.shape
        u_1D, followees_1ND = u_D[None], followees_ND[None]
        mask_1N = torch.ones_like(followees_1ND[:, :, 0], dtype=torch.bool)
        known_1 = torch.ones_like(u_1D[:, 0], dtype=torch.bool)
        ubar_1D, _ = self.ranker.followee_mean(u_1D, followees_1ND, mask_1N)
        score_1X, _, _ = self.ranker.score(u_1D, ubar_1D, known_1, mask_1N.sum(dim=1) > 0, z_PSCD.flatten(0, 2)[None])
        score_RC = score_1X.reshape(retweets * draws, candidates)
        pairs = Pairs(score_RC[:, 0], score_RC[:, 1:], self.penalty / retweets * u_D.square().sum())
        return pair_loss(pairs, self.schedule) + pairs.penalty


def traced_gradient(
    objective: Callable[[Tensor, Tensor, Tensor], Tensor], dim: int, negatives: int
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The objective's gradient by u as a graph of plain operations, which torch.export takes; P and N stay open."""
    by_u = torch.func.grad(objective)

    def gradient_of(u_D: Tensor, followees_ND: Tensor, z_PSCD: Tensor) -> Tensor:  # make_fx would count a method's self
        gradient_D: Tensor = by_u(u_D, followees_ND, z_PSCD)
        return gradient_D

    trace = make_fx(gradient_of, tracing_mode="symbolic", _allow_non_fake_inputs=True)
    example = (torch.zeros(dim), torch.zeros(3, dim), torch.zeros(5, DRAWS, 1 + negatives, dim))
    gradient: Callable[[Tensor, Tensor, Tensor], Tensor] = trace(*example)
    return gradient
