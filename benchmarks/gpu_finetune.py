"""Fine-tuning VGG16: pictures a second of whole steps, as shares of the card's peak.

A step is the trainer's: the `Tuned` backbone, the tweet encoder, a pairwise loss, Adagrad with a rate of its own for
the backbone. Shape suffixes: M tweets of a batch, D dimensions.
"""

import copy
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_card import Card, Row, Skipped, Work, first_line, peak_product
from benchmarks.gpu_models import DIM, channels_last, encoder_graph, made_inputs
from training import losses
from training.finetune import Tuned
from training.settings import BackboneName

_RATE, _BACKBONE_RATE = 0.02, 1e-5
_COUNTED = 4


@dataclass(frozen=True)
class Sizes:
    """`at_once` is how many pictures' activations are kept; of a larger batch they are computed anew."""

    backbone: BackboneName
    batches: list[int]
    at_once: list[int]


FULL = Sizes("vgg16", [64, 256], [16, 256])
QUICK = Sizes("tiny", [4], [2, 4])
PRECISIONS = {"bf16": torch.bfloat16, "fp32": None}
"""bf16 by autocast."""


class Step:
    """One step of fine-tuning on the same made tweets: the first half are positives, the others their negatives."""

    def __init__(self, sizes: Sizes, batch: int, at_once: int, half: torch.dtype | None, card: Card) -> None:
        graph = channels_last(copy.deepcopy(encoder_graph(sizes.backbone)).to(card.device))
        image_MHWC, ids_MSW = (
            torch.from_numpy(values).to(card.device) for values in made_inputs(batch, graph.backbone.image_size)
        )
        self._tuned = Tuned(graph.backbone, image_MHWC.__getitem__, at_once)
        self._encoder, self._ids_MSW = graph.encoder.train(), ids_MSW  # cuDNN: no gradient of an LSTM that is not
        self._tweet_M = torch.arange(batch, device=card.device)
        self._u_MD = nn.Parameter(torch.randn(batch // 2, DIM, device=card.device))
        self._half, self._kind = half, card.kind
        rest, tuned = [*self._encoder.parameters(), self._u_MD], [*self._tuned.parameters()]
        groups: list[dict[str, Any]] = [{"params": rest}, {"params": tuned, "lr": _BACKBONE_RATE}]
        self._optimizer = torch.optim.Adagrad(groups, lr=_RATE)

    def __call__(self) -> Tensor:
        """The loss before the step."""
        with torch.autocast(self._kind, dtype=self._half, enabled=self._half is not None):
            z_MD = self._encoder(self._tuned(self._tweet_M), self._ids_MSW)
        positive_M1, negative_M1 = (
            (self._u_MD * half_MD).sum(dim=1, keepdim=True) for half_MD in z_MD.float().chunk(2)
        )
        loss = losses.bpr(positive_M1, negative_M1)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return loss.detach()


def measure_finetune(card: Card, sizes: Sizes) -> Iterator[Row]:
    """Each precision, batch and number of pictures whose activations are kept."""
    torch.sparse.check_sparse_tensor_invariants.disable()  # type: ignore[no-untyped-call]  # said, so that torch does not warn
    peak, flops = peak_product(card), flops_of_a_picture(sizes, card)
    for precision, half in PRECISIONS.items():
        for batch in sizes.batches:
            works: dict[str, Work] = {}
            for at_once in sizes.at_once:
                kept = "all activations kept" if at_once >= batch else f"activations of {at_once} kept"
                what = f"{sizes.backbone}, {precision}, batch {batch}, {kept}"
                if what in works:
                    continue
                try:
                    step = Step(sizes, batch, at_once, half, card)
                    if not torch.isfinite(step()):
                        raise ValueError("the loss is not finite")
                except Exception as error:  # out of memory: the others go on
                    yield Skipped(what, first_line(error))
                else:
                    works[what] = step
            took = card.in_turns({"peak": peak.work, **works})
            for what in works:
                share = peak.share(batch * flops, took[what], took["peak"])
                rate = batch / statistics.median(took[what])
                yield card.row(
                    what,
                    rate,
                    "images/s",
                    f"{share:.3f} of the peak, without what is computed anew",
                )


def flops_of_a_picture(sizes: Sizes, card: Card) -> float:
    """Of a step, forward and back."""
    step = Step(sizes, _COUNTED, _COUNTED, None, card)
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops()) / _COUNTED
