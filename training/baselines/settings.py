"""What a baseline can be told; the tuned values are in tuned.json beside this file (python -m training tune)."""

from dataclasses import dataclass

from training.settings import Negatives
from training.trainer import Schedule


@dataclass(frozen=True)
class BaselineSettings:
    """A field that a system has no use for is ignored by it."""

    dim: int = 64
    learning_rate: float = 0.05
    l2: float = 1e-5
    init_std: float = 0.1
    epochs: int = 20
    batch: int = 4096
    negatives: Negatives = "uniform"
    sampled: int = 1
    patience: int = 4

    def schedule(self, seed: int) -> Schedule:
        """For the shared trainer, with the BPR loss."""
        return Schedule(
            self.epochs,
            self.batch,
            self.learning_rate,
            "bpr",
            negatives=self.sampled,
            patience=self.patience,
            seed=seed,
        )
