"""Whether a new version may serve: it and the active one rank the same held-out retweets by what is served of them.

That is vectors in fp16 and ONNX Runtime. Who came after a version was trained is unknown to it here: what folds such
users in knows of the held-out retweets.

Shape suffixes: T image tweets of the lists, C candidates, D dimensions, N followees, L lists.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from sqlalchemy import select

from contract import artifact
from contract.artifact import Artifact, Manifest
from contract.errors import ArtifactInvalid
from contract.graph import to_ms
from contract.parts import in_parts
from contract.progress import Progress
from contract.runtime import OnnxModel
from contract.tables import Tweet, TweetVector
from contract.versions import activated_last, known_versions
from training.computed import Vectors
from training.encoding.engines import encode_here
from training.encoding.shards import Post, StoredShard
from training.encoding.stored import SHARD, lacking
from training.errors import GateClosed, InputRejected
from training.evaluate import judge, list_by_list
from training.network import Ints, Network, exposures, load_network, split_by_time
from training.problem import CandidateLists, Floats, candidate_lists, held_out_lists
from training.results import Estimate, estimate
from training.settings import Gate, TrainingSettings
from training.stores import Stores

METRIC = "auc"
_ASKED = 500


@dataclass(frozen=True)
class Comparison:
    """AUC of two versions over the same users, and the difference: the new one's less the active one's."""

    users: int
    new_auc: float
    active_auc: float
    difference: Estimate

    def told(self) -> dict[str, float]:
        """As GET /models tells it."""
        ends = zip(("", "_low", "_high"), self.difference, strict=True)
        differences = {f"difference{end}": value for end, value in ends}
        return {"users": self.users, "new_auc": self.new_auc, "active_auc": self.active_auc, **differences}

    def __str__(self) -> str:
        mean, low, high = self.difference
        interval = f"{mean:+.4f} ({low:+.4f} to {high:+.4f}, {self.users:,} users)"
        return f"AUC {self.new_auc:.4f} beside {self.active_auc:.4f}: {interval}"


@dataclass(frozen=True)
class Verdict:
    """How a new version did beside the active one; `found` says why where the two could not be compared."""

    active: str
    gate: Gate
    found: Comparison | str

    @property
    def passed(self) -> bool:
        """Whether it may serve without force: it is not worse by more than the gate allows, or only by chance."""
        if isinstance(self.found, str):
            return False
        mean, _, high = self.found.difference
        return mean >= -self.gate.worse_by or high >= 0

    def told(self) -> dict[str, Any]:
        """As GET /models tells it."""
        found = self.found.told() if isinstance(self.found, Comparison) else {"not_compared": "it does not load"}
        return {"active": self.active, "passed": self.passed, **self.gate.model_dump(), **found}

    def __str__(self) -> str:
        worse = isinstance(self.found, Comparison) and self.found.difference.mean < -self.gate.worse_by
        by_chance = ", worse, but perhaps by chance" if worse and self.passed else ""
        forced = "" if self.passed or not self.gate.force else ", FORCED"
        return f"beside {self.active}: {self.found}{by_chance}{forced}"


async def pass_gate(
    folder: Path,
    gate: Gate,
    network: Network,
    settings: TrainingSettings,
    stores: Stores,
    progress: Progress,
    computed: Vectors,
) -> Verdict | None:
    """Compare a new version with the active one on the newest retweets; None where no other one serves.

    Tweets of which the new version's vectors are `computed` already are not encoded.

    Raises GateClosed where the gate is not forced and the new one does not pass: it is worse, or the active one cannot
    be loaded from where the new one is.
    """
    active = await active_version(stores)
    if active is None or active == folder.name:
        return None
    try:
        found: Comparison | str = await compare(
            folder, folder.with_name(active), network, settings, stores, progress, computed
        )
    except ArtifactInvalid as error:
        found = f"cannot be compared ({error})"
    verdict = Verdict(active, gate, found)
    if not verdict.passed and not gate.force:
        raise GateClosed(
            f"version {folder.name} is not put into service ({verdict}; at most {gate.worse_by} worse is let through). "
            "To serve it all the same: the same command with --force"
        )
    return verdict


async def active_version(stores: Stores) -> str | None:
    """The version that serves, by SQL."""
    return activated_last(await known_versions(stores.engine))


async def compare_versions(one: Path, other: Path, stores: Stores, progress: Progress) -> Comparison:
    """Two versions on the newest retweets of the database, from the later of their cuts on. Raises ArtifactInvalid."""
    network = await load_network(stores.engine)
    try:
        settings = TrainingSettings.model_validate(artifact.read_manifest(one).settings)
    except ValidationError as error:
        raise ArtifactInvalid(f"{one}: its settings are not of this code ({error.errors()[0]['msg']})") from error
    return await compare(one, other, network, settings, stores, progress, {})


async def compare(
    new: Path,
    active: Path,
    network: Network,
    settings: TrainingSettings,
    stores: Stores,
    progress: Progress,
    computed: Vectors,
) -> Comparison:
    """Both versions on the lists of what neither was trained on, by the settings of the new one.

    Raises ArtifactInvalid where one cannot be loaded.
    """
    both = [artifact.load(folder) for folder in (new, active)]
    split = split_by_time(network, settings.test_share, settings.validation_share)
    split = replace(split, test_from=max(cut_of(exported.manifest, network) for exported in both))
    lists = await still_there(held_out_lists(network, exposures(network), split), network, stores)
    while True:
        try:
            scorers = [
                await scorer_of(exported, lists, network, stores, progress, known)
                for exported, known in zip(both, (computed, {}), strict=True)
            ]
            break
        except InputRejected:  # a picture is missing: was the tweet deleted meanwhile?
            fewer = await still_there(lists, network, stores)
            if len(fewer.tweet_C) == len(lists.tweet_C):
                raise
            lists = fewer
    new_L, active_L = (judge(lists, list_by_list(scorer), settings.seed).of_L[METRIC] for scorer in scorers)
    return Comparison(len(lists.user_L), float(new_L.mean()), float(active_L.mean()), estimate(new_L - active_L))


def cut_of(manifest: Manifest, network: Network) -> int:
    """When what a version was not trained on begins (Unix ms)."""
    if manifest.judged_from is not None:
        return to_ms(manifest.judged_from)
    try:
        share = float(manifest.settings["test_share"])
    except KeyError as error:
        raise ArtifactInvalid(f"version {manifest.version}: its settings are not of this code (no {error})") from error
    return split_by_time(network, share, 1 - share).test_from


async def still_there(lists: CandidateLists, network: Network, stores: Stores) -> CandidateLists:
    """The lists without tweets that were deleted since the network was read."""
    async with stores.engine.connect() as connection:
        tweet_ids = set(await connection.scalars(select(Tweet.tweet_id)))
    there_T = np.array([tweet_id in tweet_ids for tweet_id in network.tweet_ids])
    kept_C = there_T[lists.tweet_C]
    user_C, tweet_C = lists.user_C[kept_C], lists.tweet_C[kept_C]
    return candidate_lists(user_C, tweet_C, lists.positive_C[kept_C], len(network.user_ids))


async def scorer_of(
    exported: Artifact, lists: CandidateLists, network: Network, stores: Stores, progress: Progress, computed: Vectors
) -> Callable[[int, Ints], Floats]:
    """Scores of one user's tweets by a version, from vectors in fp16 and in ONNX Runtime, as in service."""
    model = OnnxModel(exported, device="cpu")
    tweet_T = np.unique(lists.tweet_C)
    z_TD = await tweet_vectors(exported, model, tweet_T, network, stores, progress, computed)
    row_of = {user_id: row for row, user_id in enumerate(exported.user_ids)}
    row_U = np.array([row_of.get(user_id, -1) for user_id in network.user_ids])

    def score(user: int, tweet_C: Ints) -> Floats:
        rows_N = row_U[network.followees[user]]
        user_D = exported.user_vectors_UD[row_U[user]] if row_U[user] >= 0 else None
        z_CD = z_TD[np.searchsorted(tweet_T, tweet_C)].astype(np.float32)
        followees_ND = exported.user_vectors_UD[rows_N[rows_N >= 0]]
        return model.rank(user_D, followees_ND, lambda directions_2D: directions_2D @ z_CD.T).score_C

    return score


async def tweet_vectors(
    exported: Artifact,
    model: OnnxModel,
    tweet_T: Ints,
    network: Network,
    stores: Stores,
    progress: Progress,
    computed: Vectors,
) -> npt.NDArray[np.float16]:
    """z of some tweets, fp16 [T, D]: stored under the version, `computed`, or else encoded, not stored."""
    tweet_ids = [network.tweet_ids[t] for t in tweet_T]
    vectors = computed | await stored_vectors(exported.manifest.version, tweet_ids, stores)
    posts = [Post(t, network.tweet_ids[t], network.texts[t], network.image_keys[t]) for t in tweet_T.tolist()]
    parts = in_parts([post for post in posts if post.tweet_id not in vectors], SHARD)
    shards = [StoredShard(number, part, stores.blobs) for number, part in enumerate(parts)]
    with closing(encode_here(shards, exported, model)) as found:
        for encoded in progress(found, len(shards), f"encode held-out tweets (shards of {SHARD})"):
            if encoded.refused:
                raise InputRejected(lacking(encoded.refused, len(encoded.tweet_ids) + len(encoded.refused)))
            vectors |= dict(zip(encoded.tweet_ids, encoded.z_KD, strict=True))
    return np.stack([vectors[tweet_id] for tweet_id in tweet_ids])


async def stored_vectors(version: str, tweet_ids: Sequence[str], stores: Stores) -> Vectors:
    """Vectors in SQL, by tweet id."""
    vectors: Vectors = {}
    async with stores.engine.connect() as connection:
        for start in range(0, len(tweet_ids), _ASKED):
            mine = TweetVector.version == version, TweetVector.tweet_id.in_(tweet_ids[start : start + _ASKED])
            found = await connection.execute(select(TweetVector.tweet_id, TweetVector.vector).where(*mine))
            vectors |= {row.tweet_id: np.frombuffer(row.vector, dtype="<f2") for row in found}
    return vectors
