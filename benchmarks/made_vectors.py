"""Vectors of made tweets and users, as many as wanted.

Shape suffixes: T tweets, C of a chunk, D dimensions, L dimensions of topics, N topics, Q a user and followees.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from benchmarks.site import DIM
from contract.vectors import Vectors

Kind = Literal["clustered", "plain"]
KINDS: tuple[Kind, ...] = ("clustered", "plain")
Floats = npt.NDArray[np.float32]
TOPICS, TOPIC_DIM = 300, 32
_FOLLOWEES = 6
_CHUNK = 50_000


@dataclass(frozen=True)
class World:
    """Topics, float32 [N, L], and how they lie in vectors, float32 [L, D]; None: no topics."""

    topics_NL: Floats | None
    mixing_LD: Floats


def made_world(kind: Kind, generator: np.random.Generator) -> World:
    """From a seed."""
    topics_NL = generator.standard_normal((TOPICS, TOPIC_DIM), dtype=np.float32)
    mixing_LD = generator.standard_normal((TOPIC_DIM, DIM), dtype=np.float32) / np.float32(math.sqrt(TOPIC_DIM))
    return World(topics_NL if kind == "clustered" else None, mixing_LD)


def made_tweets(world: World, size: int, generator: np.random.Generator) -> Vectors:
    """z = 1.7159 tanh(2a/3), as the encoder's; fp16 [T, D]."""
    made_TD = np.empty((size, DIM), dtype=np.float16)
    for start in range(0, size, _CHUNK):
        count = min(_CHUNK, size - start)
        a_CD = generator.standard_normal((count, DIM), dtype=np.float32)
        if world.topics_NL is not None:
            own_CL = 0.5 * generator.standard_normal((count, TOPIC_DIM), dtype=np.float32)
            own_CL += world.topics_NL[generator.integers(0, TOPICS, count)]
            a_CD *= np.float32(0.3)
            a_CD += own_CL @ world.mixing_LD
        a_CD *= np.float32(2 / 3)
        np.tanh(a_CD, out=a_CD)
        made_TD[start : start + count] = a_CD * np.float32(1.7159)
    return made_TD


def made_directions(world: World, generator: np.random.Generator) -> Floats:
    """u and ubar, float32 [2, D]: u of length 1, of three topics, where there are any; followees share one of them."""
    own = generator.integers(0, TOPICS, 3)
    tastes = [own, *(np.append(own[:1], generator.integers(0, TOPICS, 2)) for _ in range(_FOLLOWEES))]
    vectors_QD = generator.standard_normal((1 + _FOLLOWEES, DIM), dtype=np.float32)
    if (topics_NL := world.topics_NL) is not None:
        vectors_QD *= np.float32(0.3)
        vectors_QD += np.stack([topics_NL[taste].mean(axis=0) for taste in tastes]) @ world.mixing_LD
    vectors_QD /= np.linalg.norm(vectors_QD, axis=1, keepdims=True)
    return np.stack([vectors_QD[0], vectors_QD[1:].mean(axis=0)])
