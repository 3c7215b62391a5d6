"""What is served is what was trained: the service's scores against torch's."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import numpy.typing as npt
import pytest
import torch
from pydantic import TypeAdapter

import service.explain
from contract.artifact import Artifact, load
from contract.blobs import BlobStore
from contract.embedded import open_redis, redis_server
from contract.environment import StoreSettings
from contract.link import Link
from contract.preprocessing import token_ids
from contract.progress import silent
from contract.vectors import VectorStore
from service.main import create_app
from service.schemas import Recommendations
from service.settings import Settings
from tests.conftest import fresh_stores, import_into
from training.backbones import Backbone, load_backbone
from training.features import read_image
from training.model import Amnl
from training.network import Network, exposures, split_by_time
from training.problem import Content, problem_of
from training.retrain import open_run, publish_folder, read_network, train_and_export
from training.settings import Attention, TrainingSettings


@dataclass(frozen=True)
class Served:
    stores: StoreSettings
    network: Network
    artifact: Artifact
    model: Amnl
    answers: dict[str, Recommendations]
    stored: dict[str, npt.NDArray[np.float16]]
    """The tweets' vectors in Redis."""


@pytest.fixture(scope="module")
def stores(default_network: Path) -> Iterator[StoreSettings]:
    """With the small made network."""
    with fresh_stores("embedded") as settings:
        import_into(settings, default_network)
        yield settings


@pytest.fixture(scope="module", params=[("sum", "similar"), ("product", "paper"), ("softplus", "mean")])
def served(request: pytest.FixtureRequest, stores: StoreSettings) -> Served:
    """A trained model, its float32 weights from the last checkpoint, and what the service answers."""
    link: Link
    attention: Attention
    link, attention = request.param
    settings = TrainingSettings(
        backbone="tiny", dim=24, text_dim=12, word_dim=16, epochs=3, link=link, attention=attention
    )
    network = asyncio.run(read_network(stores))
    run = open_run(stores.var_dir / "runs", settings, network)
    folder = stores.models_dir / run.version
    train_and_export(folder, run, network, settings, stores, silent)
    publish_folder(folder, stores, silent)
    exported = load(folder)
    model = trained_model(run.folder / "checkpoint.pt", network, exported, settings)
    answers = asyncio.run(ask(stores, network.user_ids))
    return Served(stores, network, exported, model, answers, asyncio.run(stored_tweets(stores, network, exported)))


def trained_model(checkpoint: Path, network: Network, exported: Artifact, settings: TrainingSettings) -> Amnl:
    split = split_by_time(network, settings.test_share, settings.validation_share)
    features = torch.zeros(len(network.tweet_ids), load_backbone(settings.backbone, None).feature_dim)
    words = np.ones((len(network.tweet_ids), 1, 1), dtype=np.int64)
    content = Content.of(features, words, exported.tokenizer.get_vocab_size())
    model = Amnl(problem_of(network, exposures(network), split, content), settings)
    weights = torch.load(checkpoint, weights_only=True)["best_weights"]
    model.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
    return model.eval()


async def ask(stores: StoreSettings, user_ids: list[str], explain: bool = False) -> dict[str, Recommendations]:
    app = create_app(Settings(**stores.model_dump()))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        parameters = {"k": 100, "explain": explain}
        responses = [await client.get(f"/users/{user_id}/recommendations", params=parameters) for user_id in user_ids]
    assert all(response.status_code == 200 for response in responses)
    answers = [TypeAdapter(Recommendations).validate_json(response.content) for response in responses]
    return {answer.user_id: answer for answer in answers}


async def stored_tweets(
    stores: StoreSettings, network: Network, exported: Artifact
) -> dict[str, npt.NDArray[np.float16]]:
    with redis_server(stores) as (url, _):
        async with open_redis(url) as redis:
            vectors = VectorStore(redis, stores.redis_namespace)
            found, z_CD = await vectors.tweets(exported.manifest.version, network.tweet_ids, exported.manifest.dim)
    assert found == network.tweet_ids
    return dict(zip(found, z_CD, strict=True))


def check_order(scores_C: npt.NDArray[np.float64], tolerance: float) -> None:
    """Served best first, these scores may rise from one to the next by no more than the tolerance."""
    assert (np.diff(scores_C) <= tolerance).all()


@torch.inference_mode()
def test_served_scores_equal_torch_on_the_stored_vectors(served: Served) -> None:
    ranker = served.model.ranker
    known = dict(zip(served.artifact.user_ids, served.artifact.user_vectors_UD, strict=True))
    dim, ranked = served.artifact.manifest.dim, 0
    for user_id, answer in served.answers.items():
        if answer.source in ("popular", "recent"):
            assert user_id not in known
            continue
        followees = [q for q in followee_ids(served.network, user_id) if q in known]
        followees_ND = np.array([known[q] for q in followees], dtype=np.float16).reshape(-1, dim)
        z_CD = np.array([served.stored[item.tweet_id] for item in answer.items])
        user_D = known[user_id].copy() if user_id in known else np.zeros(dim, dtype=np.float16)
        inputs = (user_D, followees_ND, z_CD)
        u_1D, followees_1ND, z_1CD = (torch.from_numpy(value[None]).float() for value in inputs)
        mask_1N = torch.ones(1, len(followees), dtype=torch.bool)
        scores = ranker(u_1D, torch.tensor([user_id in known]), followees_1ND, mask_1N, z_1CD)
        score_C, personal_C, social_C = (part[0] for part in scores[:3])
        ranked += 1
        for name, expected_C in (("score", score_C), ("personal", personal_C), ("social", social_C)):
            served_C = np.array([getattr(item, name) for item in answer.items])
            largest = float(expected_C.abs().max())
            assert np.abs(served_C - expected_C.numpy()).max() <= 1e-5 * largest
        check_order(score_C.double().numpy(), 1e-5 * float(score_C.abs().max()))
    assert set(served.answers) == set(served.network.user_ids)
    assert ranked > 0.9 * len(served.answers)


@torch.inference_mode()
def test_followees_parts_are_those_of_torch_and_add_up_to_the_social_facet(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.explain, "MOST_REASONS", 10_000)
    answers = asyncio.run(ask(served.stores, served.network.user_ids, explain=True))
    known = dict(zip(served.artifact.user_ids, served.artifact.user_vectors_UD, strict=True))
    explained = 0
    for user_id, answer in answers.items():
        plain = served.answers[user_id].items
        assert [replace(item, because=None) for item in answer.items] == plain
        followees = [q for q in followee_ids(served.network, user_id) if q in known]
        if answer.source in ("popular", "recent") or not followees or not answer.items:
            assert {len(item.because or ()) for item in answer.items} <= {0}
            continue
        u_D = np.float32(known.get(user_id, np.zeros(served.artifact.manifest.dim)))
        u_ND = torch.from_numpy(np.array([known[q] for q in followees], dtype=np.float32))
        z_KD = torch.from_numpy(np.array([served.stored[item.tweet_id] for item in answer.items])).float()
        attention_N = served.model.ranker.attention(torch.from_numpy(u_D), u_ND, None)
        expected_KN = attention_N * (z_KD @ u_ND.T)
        parts = [{one.user_id: one.part for one in item.because or ()} for item in answer.items]
        found_KN = np.array([[of_tweet[q] for q in followees] for of_tweet in parts])
        assert {len(of_tweet) for of_tweet in parts} == {len(followees)}
        assert np.abs(found_KN - expected_KN.numpy()).max() <= 1e-5 * float(expected_KN.abs().max())
        social_K = np.array([item.social for item in answer.items])
        sum_K = found_KN.sum(axis=1)
        facet_K = np.logaddexp(sum_K, 0) if served.artifact.manifest.link == "softplus" else sum_K
        assert np.abs(facet_K - social_K).max() <= 1e-5 * np.abs(social_K).max()
        explained += 1
    assert explained > 0.9 * len(answers)


@torch.inference_mode()
def test_served_scores_are_the_trainers_float32_scores_to_a_percent_of_their_range(served: Served) -> None:
    vectors_UD, users = served.model.user_vectors.weight, served.network.user_ids
    exported = set(served.artifact.user_ids)
    z_TD = encode(served, load_backbone("tiny", None), served.network.tweet_ids)
    place = {tweet_id: number for number, tweet_id in enumerate(served.network.tweet_ids)}
    for user_id, answer in served.answers.items():
        if answer.source in ("popular", "recent") or len(answer.items) < 2:
            continue
        z_CD = z_TD[[place[item.tweet_id] for item in answer.items]]
        followees = [users.index(q) for q in followee_ids(served.network, user_id) if q in exported]
        followees_ND = vectors_UD[torch.tensor(followees, dtype=torch.int64)]
        mask_1N, known_1 = torch.ones(1, len(followees), dtype=torch.bool), torch.tensor([user_id in exported])
        scores = served.model.ranker(
            vectors_UD[users.index(user_id)][None], known_1, followees_ND[None], mask_1N, z_CD[None]
        )
        expected_C = scores.score_BC[0].double().numpy()
        tolerance = 0.01 * float(np.ptp(expected_C))
        assert np.abs(np.array([item.score for item in answer.items]) - expected_C).max() <= tolerance
        check_order(expected_C, tolerance)


def followee_ids(network: Network, user_id: str) -> list[str]:
    return [network.user_ids[int(q)] for q in network.followees[network.user_ids.index(user_id)]]


def encode(served: Served, backbone: Backbone, tweet_ids: list[str]) -> torch.Tensor:
    """The tweets by the trained float32 encoder in torch, from their stored images and texts."""
    blobs = BlobStore(served.stores.image_store_url)
    places = [served.network.tweet_ids.index(tweet_id) for tweet_id in tweet_ids]
    images = [read_image(blobs, served.network.image_keys[place], backbone.image_size) for place in places]
    texts = [served.network.texts[place] for place in places]
    ids_BSW = token_ids(served.artifact.tokenizer, texts, served.artifact.manifest.preprocessing)
    z_BD: torch.Tensor = served.model.encoder(backbone(torch.from_numpy(np.stack(images))), torch.from_numpy(ids_BSW))
    return z_BD
