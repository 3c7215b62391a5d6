"""Ranking many users at once against all tweets, exactly: their ten best, as shares of the card's bandwidth and peak.

Shape suffixes: U users, N followees, T tweets, C tweets of a block, G tweets of a group, D dimensions, K best.
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.gpu_card import Card, Row, Skipped, Work, first_line, large_copy, peak_product
from contract.link import Link, combine
from training.model import TORCH, Ranker

DIM = 400
BEST = 10
LINK: Link = "sum"


@dataclass(frozen=True)
class Sizes:
    """`tweets` is a multiple of every block, a block of the group; a group is larger than 1."""

    users: list[int]
    followees: int
    tweets: int
    blocks: list[int]
    group: int
    compiler: str


FULL = Sizes([1_000, 32, 1], 30, 1_000_000, [250_000, 50_000, 10_000], 100, "inductor")
QUICK = Sizes([8, 1], 3, 2_000, [1_000], 50, "eager")
Best = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def directions(ranker: Ranker, u_UD: Tensor, followees_UND: Tensor) -> Tensor:
    """u and ubar, float16 [2, U, D]: what tweets are multiplied by."""
    ubar_UD, _ = ranker.followee_mean(u_UD, followees_UND, None)
    return torch.stack([u_UD, ubar_UD]).half()


def best_of_block(direction_2UD: Tensor, z_CD: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Scores [U, K] and places int64 [U, K] of the K best of a block.

    They lie in the K groups with the highest best score: so what is sorted is a group's best, and K groups' scores.
    """
    facet_2UC = (direction_2UD.flatten(0, 1) @ z_CD.T).view(*direction_2UD.shape[:2], -1)
    score_UC, _, _ = combine(LINK, facet_2UC[0], facet_2UC[1], True, True, TORCH)
    score_UCG = score_UC.view(len(score_UC), -1, group)
    group_UK = score_UCG.amax(dim=2).topk(BEST, dim=1).indices
    score_UKG = score_UCG.gather(1, group_UK[:, :, None].expand(-1, -1, group))
    score_UK, place_UK = score_UKG.flatten(1).topk(BEST, dim=1)
    return score_UK, group_UK.gather(1, place_UK // group) * group + place_UK % group


def rank_all(direction_2UD: Tensor, z_TD: Tensor, block: int, best: Best) -> tuple[Tensor, Tensor]:
    """Scores [U, K] and numbers int64 [U, K] of the best of all tweets, best first."""
    scores, numbers = [], []
    for start in range(0, len(z_TD), block):
        score_UK, place_UK = best(direction_2UD, z_TD[start : start + block])
        scores.append(score_UK)
        numbers.append(place_UK + start)
    score_UK, place_UK = torch.cat(scores, dim=1).topk(BEST, dim=1)
    return score_UK, torch.cat(numbers, dim=1).gather(1, place_UK)


def measure_ranking(card: Card, sizes: Sizes) -> Iterator[Row]:
    """For each number of users, eager and compiled, at the block size that is best for eager."""
    torch.manual_seed(0)
    ranker = Ranker(DIM, LINK, "mean", 1.0).to(card.device)
    z_TD = torch.empty(sizes.tweets, DIM, dtype=torch.float16, device=card.device).uniform_(-1.7, 1.7)
    copy, peak = large_copy(card), peak_product(card)
    eager = partial(best_of_block, group=sizes.group)
    for users in sizes.users:
        what = f"{users:,} users, {sizes.tweets:,} tweets"
        u_UD = torch.randn(users, DIM, device=card.device) * 0.05
        followees_UND = torch.randn(users, sizes.followees, DIM, device=card.device) * 0.05
        by = partial(ranked, ranker, u_UD, followees_UND, z_TD)
        took = card.in_turns({str(block): partial(by, block, eager) for block in sizes.blocks})
        block = min(sizes.blocks, key=lambda size: statistics.median(took[str(size)]))
        torch.compiler.reset()
        compiled = torch.compile(eager, fullgraph=True, dynamic=False, backend=sizes.compiler)
        works: dict[str, Work] = {}
        for runtime, best in (("torch eager", eager), ("torch.compile", compiled)):
            try:
                check(by(block, best), directions(ranker, u_UD, followees_UND), z_TD)
            except Exception as error:  # no compiler: the other one goes on
                yield Skipped(f"{what}, {runtime}", first_line(error))
            else:
                works[runtime] = partial(by, block, best)
        took = card.in_turns({"copy": copy.work, "peak": peak.work, **works})
        needed, flops = 2.0 * (sizes.tweets + 2 * users) * DIM, 4.0 * users * sizes.tweets * DIM
        bandwidth = copy.bytes_moved / statistics.median(took["copy"])
        floors = {
            "reading every vector once": needed / bandwidth,
            "every product at the peak": flops / peak.flops * statistics.median(took["peak"]),
        }
        floor = max(floors, key=lambda name: floors[name])
        for runtime in works:
            seconds, name = statistics.median(took[runtime]), f"{what}, {runtime}"
            yield card.row(name, 1_000 * seconds, "ms", f"blocks of {block:,}")
            of_copy = f"{bandwidth / 1e9:,.3g} GB/s of a copy; every vector read once"
            yield card.row(name, needed / seconds / bandwidth, "of the bandwidth", of_copy)
            yield card.row(name, floors[floor] / seconds, "of the floor", f"{floor}, {1_000 * floors[floor]:.3g} ms")


@torch.inference_mode()
def ranked(
    ranker: Ranker, u_UD: Tensor, followees_UND: Tensor, z_TD: Tensor, block: int, best: Best
) -> tuple[Tensor, Tensor]:
    """Attention and all that follows: scores and numbers of the best tweets, [U, K] each."""
    return rank_all(directions(ranker, u_UD, followees_UND), z_TD, block, best)


@torch.inference_mode()
def check(found: tuple[Tensor, Tensor], direction_2UD: Tensor, z_TD: Tensor, users: int = 4) -> None:
    """Against scores in float32, all sorted. Raises ValueError where they differ by more than fp16 rounds."""
    direction_UD = direction_2UD[:, :users].float().sum(dim=0)
    score_UT = torch.cat([direction_UD @ z_CD.float().T for z_CD in torch.split(z_TD, 100_000)], dim=1)
    tolerance = 2e-3 * float(score_UT.abs().max())
    expected_UK = score_UT.topk(BEST, dim=1).values
    score_UK, number_UK = (part[:users] for part in found)
    own_UK = score_UT.gather(1, number_UK)
    if max(float((score_UK - expected_UK).abs().max()), float((own_UK - expected_UK).abs().max())) > tolerance:
        raise ValueError("the best tweets are not those of a float32 ranking")
