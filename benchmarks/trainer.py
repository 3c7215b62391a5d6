"""What benchmarks/training_path.py measures in a process of its own, with the threads that a user has: prints JSON.

VAR_DIR and MODELS_DIR name the stores, which have the network and the features of its pictures.

Shape suffixes: B samples, N followees, S sentences, W words, D dimensions, H, W, C of pictures.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from contract.blobs import BlobStore, blob_key
from contract.environment import StoreSettings
from contract.preprocessing import PAD_ID, Preprocessing, decode_image
from contract.progress import silent
from training import losses
from training.backbones import load_backbone
from training.features import image_features
from training.model import Amnl, TweetEncoder, scaled_tanh
from training.network import Ints, exposures, split_by_time
from training.problem import Problem, content_of, problem_of
from training.retrain import read_network, retrain
from training.sampling import triple_sampler
from training.settings import TrainingSettings
from training.synthesize.pictures import render
from training.train import Trainee

T = TypeVar("T")

ROUNDS = 3
PLAIN_BATCH = 256
"""Retweets: of 2,048 a plain step takes half a minute; what it costs but by sample is small beside."""
_BATCH = 16
_PICTURES = 48
STAGES = {
    "features": "load the network",
    "fit": "read the features, pose the problem",
    "copy user vectors to Redis": "judge, export, verify",
    "put users online": "vectors into SQL and Redis",
    "fold in users": "users online",
}
"""What has been done when a loop with this label begins; the fit ends with its own."""


class Stopwatch:
    """A progress that notes when loops begin, and when the fit ends."""

    def __init__(self, started: float) -> None:
        self.seconds: dict[str, float] = {}
        self._last = started
        self.note("start Python, import")

    def __call__(self, items: Iterable[T], _total: int, label: str) -> Iterable[T]:
        """Yields the items unchanged."""
        if (loop := label.split(" (")[0]) in STAGES:
            self.note(STAGES[loop])
        yield from items
        if loop == "fit":
            self.note("fit")

    def note(self, stage: str) -> None:
        """A stage ends now."""
        now = time.time()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def main(started: float, seconds: float) -> None:
    """First the retrain, so that the peak of memory is its own."""
    stores = StoreSettings()
    watch = Stopwatch(started)
    retrain(TrainingSettings(), stores, watch)
    watch.note("fold in, activate, clear away")
    peak_mb = peak_memory_mb()
    found = {
        "stages": watch.seconds,
        "peak_mb": peak_mb,
        "tuples": tuple_rates(stores, seconds),
        "features": feature_rates(seconds),
    }
    print(json.dumps(found))


def peak_memory_mb() -> float:
    """Of this process: what getrusage tells is its parent's where that was larger before it began."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) / 1_024


def tuple_rates(stores: StoreSettings, seconds: float) -> list[tuple[float, float]]:
    """Tuples a second at the paper's settings: this trainer's and the plain one's, in turns."""
    settings = TrainingSettings(
        dim=400, link="product", loss="hinge", attention="paper", negatives=2, text_dim=32, word_dim=32
    )
    problem = stored_problem(stores, settings)
    small = settings.model_copy(update={"batch": PLAIN_BATCH})
    fast, plain = fast_steps(problem, settings), plain_steps(problem, small)
    next(fast), next(plain)
    return [(rate(fast.__next__, seconds), rate(plain.__next__, seconds)) for _ in range(ROUNDS)]


def feature_rates(seconds: float) -> list[tuple[float, float]]:
    """Pictures a second: read, decoded, computed and kept, and by a bare loop of the backbone, in turns."""
    generator = np.random.default_rng(0)
    made = [render(generator.standard_normal(8), generator) for _ in range(_PICTURES)]
    pictures = Made({blob_key(picture): picture for picture in made})
    settings = TrainingSettings()
    backbone = load_backbone(settings.backbone, settings.weights)
    image_PHWC = np.stack([decode_image(picture, backbone.image_size) for picture in made])

    def kept() -> int:
        with tempfile.TemporaryDirectory() as cache:
            return len(image_features(list(pictures.by_key), pictures, backbone, Path(cache), silent))

    @torch.inference_mode()
    def bare() -> int:
        return sum(len(backbone(image_BHWC)) for image_BHWC in torch.split(torch.from_numpy(image_PHWC), _BATCH))

    kept(), bare()
    return [(rate(kept, seconds), rate(bare, seconds)) for _ in range(ROUNDS)]


def rate(work: Callable[[], int], seconds: float) -> float:
    """How many a second, where each piece of work says how many it was."""
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        done += work()
    return done / (time.perf_counter() - started)


class Made:
    """Pictures in memory."""

    def __init__(self, by_key: dict[str, bytes]) -> None:
        self.by_key = by_key

    def get(self, key: str) -> bytes:
        """The picture's bytes."""
        return self.by_key[key]

    def place(self, key: str) -> str:
        """In words."""
        return key


def stored_problem(stores: StoreSettings, settings: TrainingSettings) -> Problem:
    """As the retrain poses it."""
    network = asyncio.run(read_network(stores))
    backbone = load_backbone(settings.backbone, settings.weights)
    blobs = BlobStore(stores.image_store_url)
    x_TF = image_features(network.image_keys, blobs, backbone, stores.var_dir / "features", silent)
    split = split_by_time(network, settings.test_share, settings.validation_share)
    content, _ = content_of(network, x_TF, split.test_from, Preprocessing(image_size=backbone.image_size))
    return problem_of(network, exposures(network), split, content)


def fast_steps(problem: Problem, settings: TrainingSettings) -> Iterator[int]:
    """The shared trainer's steps; yields the tuples of each."""
    torch.manual_seed(0)
    trainee = Trainee(Amnl(problem, settings), problem, settings, np.arange(problem.users))
    optimizer = torch.optim.Adagrad(trainee.parameters(), lr=settings.learning_rate)
    sampler = triple_sampler(problem, "followees")
    for epoch in range(1_000):
        for user_B, positive_B, negative_BK in sampler.batches(settings.batch, settings.negatives, 0, epoch):
            pairs = trainee.pairs(user_B, positive_B, negative_BK)
            loss = losses.hinge(pairs.positive_B[:, None], pairs.negative_BK, settings.margin)
            optimizer.zero_grad()
            (loss + pairs.penalty).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield negative_BK.size


def plain_steps(problem: Problem, settings: TrainingSettings) -> Iterator[int]:
    """What one writes first: sample by sample, dense gradients."""
    torch.manual_seed(0)
    model = Amnl(problem, settings)
    for module in (model.user_vectors, model.encoder.word_vectors):
        module.sparse = False
    optimizer = torch.optim.Adagrad(model.parameters(), lr=settings.learning_rate, weight_decay=2 * settings.l2)
    drawer = random.Random(0)
    positives = list(zip(problem.user_P.tolist(), problem.tweet_P.tolist(), strict=True))
    while True:
        triples: list[tuple[int, int, int]] = []
        while len(triples) < settings.batch * settings.negatives:
            user, tweet = drawer.choice(positives)
            passed_by = problem.unretweeted[user]
            if len(passed_by):
                triples += [(user, tweet, int(drawer.choice(passed_by))) for _ in range(settings.negatives)]
        user_B, positive_B, negative_B = (np.array(column) for column in zip(*triples, strict=True))
        positive, negative = (plain_scores(model, problem, user_B, tweet_B) for tweet_B in (positive_B, negative_B))
        loss = losses.hinge(positive[:, None], negative[:, None], settings.margin)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield len(triples)


def plain_scores(model: Amnl, problem: Problem, user_B: Ints, tweet_B: Ints) -> Tensor:
    """F of pairs, float32 [B]: every pair's tweet is encoded and its followees' attention computed, padded."""
    content = problem.content
    if content.x_TF is None or content.token_ids_TSW is None:
        raise ValueError("the benchmark's network has pictures and words")
    z_BD = plain_encoded(model.encoder, content.x_TF[tweet_B], content.token_ids_TSW[tweet_B])
    rows = [problem.followees[int(user)] for user in user_B]
    followee_BN = np.zeros((len(rows), max(len(row) for row in rows)), dtype=np.int64)
    mask_BN = np.zeros(followee_BN.shape, dtype=bool)
    for place, row in enumerate(rows):
        followee_BN[place, : len(row)], mask_BN[place, : len(row)] = row, True
    scores = model.ranker(
        model.user_vectors(torch.from_numpy(user_B)),
        torch.ones(len(user_B), dtype=torch.bool),
        model.user_vectors(torch.from_numpy(followee_BN)),
        torch.from_numpy(mask_BN),
        z_BD[:, None],
    )
    score_B: Tensor = scores.score_BC[:, 0]
    return score_B


def plain_encoded(encoder: TweetEncoder, x_BF: Tensor, ids_BSW: Tensor) -> Tensor:
    """z, float32 [B, D]: the LSTM runs over all sentences of all tweets, padding included."""
    states_MWH, _ = encoder.lstm(encoder.word_vectors(ids_BSW.flatten(0, 1)))
    length_BS = (ids_BSW != PAD_ID).sum(dim=2)
    last_M = (length_BS.flatten() - 1).clamp(min=0)
    state_BSH = states_MWH[torch.arange(len(last_M)), last_M].reshape(*length_BS.shape, -1)
    y_BH = state_BSH.masked_fill(length_BS[:, :, None] == 0, -torch.inf).amax(dim=1)
    y_BH = torch.where((length_BS > 0).any(dim=1, keepdim=True), y_BH, torch.zeros_like(y_BH))
    if encoder.image_to_z is None or encoder.text_to_z is None:
        raise ValueError("the benchmark's network has pictures and words")
    x_BF = (x_BF - encoder.feature_mean_F) * encoder.feature_scale_F
    return scaled_tanh(encoder.image_to_z(x_BF) + encoder.text_to_z(y_BH))


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
