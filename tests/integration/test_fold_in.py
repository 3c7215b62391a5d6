"""A user whom the model was not trained on gets a vector from their first retweets, over HTTP and in the stores."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from contract.embedded import open_redis, redis_server
from contract.environment import StoreSettings
from contract.fold_in import FoldInStores, fit_user, put_fitted
from contract.progress import silent
from contract.runtime import OnnxModel
from contract.transactions import changing
from contract.waiting import WaitingUsers
from service.fold_in import FoldIns
from tests import datasets
from tests.conftest import import_into
from tests.integration.running import Network, Service, changed, new_user, png, serving, until
from training.retrain import publish_folder

pytestmark = pytest.mark.anyio

WITHIN_SECONDS = 5.0
"""A second on a quiet machine (docs/experiments.md); other tests' users may wait before."""


async def answer_of(service: Service, user: str) -> dict[str, Any]:
    answer = await service.client.get(f"/users/{user}/recommendations", params={"k": 100})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def vector_of(service: Service, user: str) -> np.ndarray[Any, Any] | None:
    models = service.parts.ingest.models.required()
    found, vectors_KD = await service.parts.ingest.vectors.users(models.version, [user], models.manifest.dim)
    return vectors_KD[0] if found else None


async def newcomer(service: Service, network: Network, reader: str, user: str) -> list[str]:
    """Follows whom the reader follows; what they are offered."""
    await new_user(service, user)
    for followee in sorted(network.followees[reader]):
        await changed(service, "PUT", f"/users/{user}/followees/{followee}", 201)
    return [item["tweet_id"] for item in (await answer_of(service, user))["items"]]


async def test_the_first_retweet_gives_a_vector_within_a_second_and_the_last_one_taken_back_takes_it(
    service: Service, network: Network, reader: str
) -> None:
    offered = await newcomer(service, network, reader, "fresh")
    before = await answer_of(service, "fresh")
    assert before["missing"] == ["user_vector"]
    assert {item["personal"] for item in before["items"]} == {0.0}

    for tweet in offered[:2]:
        await changed(service, "PUT", f"/users/fresh/retweets/{tweet}", 201)

    async def folded() -> bool:
        return not (await answer_of(service, "fresh"))["missing"]

    await until(folded, WITHIN_SECONDS)
    after = await answer_of(service, "fresh")
    assert after["source"] == "followees"
    assert len({item["personal"] for item in after["items"]}) > 1
    assert len({item["social"] for item in after["items"]}) > 1
    for item in after["items"]:
        assert item["score"] == pytest.approx(item["personal"] + item["social"], abs=1e-4)

    for tweet in offered[:2]:
        await changed(service, "DELETE", f"/users/fresh/retweets/{tweet}", 204)

    async def gone() -> bool:
        return "user_vector" in (await answer_of(service, "fresh"))["missing"]

    await until(gone, WITHIN_SECONDS)


async def test_what_was_retweeted_decides_what_comes_first(service: Service, network: Network, reader: str) -> None:
    offered = await newcomer(service, network, reader, "tasteful")
    liked, model = offered[0], service.parts.ingest.models.required()
    await changed(service, "PUT", f"/users/tasteful/retweets/{liked}", 201)
    await until(lambda: has_vector(service, "tasteful"), WITHIN_SECONDS)
    ids, z_CD = await service.parts.ingest.vectors.tweets(model.version, offered, model.manifest.dim)
    place = ids.index(liked)
    u_D = (await vector_of(service, "tasteful")).astype(np.float32)  # type: ignore[union-attr]  # waited for
    personal_C = z_CD.astype(np.float32) @ u_D
    assert personal_C[place] > np.median(np.delete(personal_C, place))


async def has_vector(service: Service, user: str) -> bool:
    return await vector_of(service, user) is not None


async def test_a_trained_vector_stays(service: Service, network: Network) -> None:
    trained_users = service.parts.ingest.models.required().artifact.user_ids
    reader = max(trained_users, key=lambda user: len(network.offered(user)))
    before = await vector_of(service, reader)
    assert before is not None
    tweet = (await answer_of(service, reader))["items"][0]["tweet_id"]
    await changed(service, "PUT", f"/users/{reader}/retweets/{tweet}", 201)
    assert reader.encode() not in await waiting(service)
    await changed(service, "DELETE", f"/users/{reader}/retweets/{tweet}", 204)
    assert (await vector_of(service, reader)).tobytes() == before.tobytes()  # type: ignore[union-attr]  # it stays
    assert (await answer_of(service, reader))["folded_in"] is False


async def test_publishing_again_gives_the_same_vector_after_a_lost_redis(
    service: Service, network: Network, reader: str
) -> None:
    offered = await newcomer(service, network, reader, "published")
    for tweet in offered[:3]:
        await changed(service, "PUT", f"/users/published/retweets/{tweet}", 201)
    model, parts = service.parts.ingest.models.required(), service.parts.ingest
    stores = FoldInStores(parts.database.engine, parts.graph, parts.vectors)
    fitted = await fit_user("published", model.artifact, model.onnx, stores)
    async with changing(parts.database.engine) as connection:
        assert await put_fitted(connection, "published", fitted, model.version, stores)
    await until(lambda: nobody_waits(service), WITHIN_SECONDS)
    before, version = await vector_of(service, "published"), model.version
    assert before is not None
    await service.parts.ingest.vectors.forget_user([version], "published")
    await asyncio.to_thread(publish_folder, service.settings.models_dir / version, service.settings, silent)
    after = await vector_of(service, "published")
    assert after is not None
    assert after.tobytes() == before.tobytes()
    assert (await answer_of(service, "published"))["folded_in"] is True


async def test_a_version_that_has_no_vector_of_a_user_gets_one_when_it_comes_to_serve(
    service: Service, network: Network, reader: str, trained: StoreSettings
) -> None:
    offered = await newcomer(service, network, reader, "later")
    await changed(service, "PUT", f"/users/later/retweets/{offered[0]}", 201)
    await until(lambda: has_vector(service, "later"), WITHIN_SECONDS)
    version = service.parts.ingest.models.required().version
    await service.parts.ingest.vectors.forget_user([version], "later")
    async with serving(trained) as another:
        await until(lambda: has_vector(another, "later"), 5 * WITHIN_SECONDS)


async def test_a_deleted_tweet_counts_no_more(service: Service, network: Network, reader: str, author: str) -> None:
    await newcomer(service, network, reader, "bereft")
    tweet = (await service.post(png("teal"), author_id=author)).json()["tweet_id"]
    await changed(service, "PUT", f"/users/bereft/retweets/{tweet}", 201)
    await until(lambda: has_vector(service, "bereft"), WITHIN_SECONDS)
    await changed(service, "DELETE", f"/tweets/{tweet}", 204)
    await until(lambda: has_no_vector(service, "bereft"), WITHIN_SECONDS)


async def test_what_fails_is_counted_and_tried_again(
    service: Service, network: Network, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.fold_in._RETRY_MS", 100)
    models = service.parts.ingest.models
    good = models.required()
    offered = await newcomer(service, network, reader, "unlucky")
    models.current = replace(good, onnx=cast(OnnxModel, Failing()))
    await changed(service, "PUT", f"/users/unlucky/retweets/{offered[0]}", 201)
    await until(lambda: counted(service, "failed"), 3 * WITHIN_SECONDS)
    assert await vector_of(service, "unlucky") is None
    models.current = good
    await until(lambda: has_vector(service, "unlucky"), 3 * WITHIN_SECONDS)


class Failing:
    drawn = (1, 1)

    def fold_in(self, *_: object) -> None:
        raise RuntimeError("not today")


async def test_the_list_is_bounded_and_has_each_user_once(
    service: Service, monkeypatch: pytest.MonkeyPatch, trained: StoreSettings
) -> None:
    monkeypatch.setattr("contract.waiting.MOST_WAITING", 3)
    parts = service.parts.ingest
    with redis_server(trained) as (url, _):
        async with open_redis(url) as redis:
            namespace = f"{trained.redis_namespace}:aside"  # whose list no loop works off
            stores = FoldInStores(parts.database.engine, parts.graph, parts.vectors)
            aside = FoldIns(WaitingUsers(redis, namespace), stores, parts.models, service.parts.metrics)
            for _ in range(2):
                await aside.changed(["w1", "w2", *parts.models.required().artifact.user_ids])
            assert await redis.zcard(f"{namespace}:fold_in") == 2
            await aside.changed(["w3", "w4", "w5"])
            assert await redis.zcard(f"{namespace}:fold_in") == 3
            assert await counted(service, "dropped")


async def has_no_vector(service: Service, user: str) -> bool:
    return await vector_of(service, user) is None


async def counted(service: Service, outcome: str) -> bool:
    text = (await service.client.get("/metrics")).text
    line = next((line for line in text.splitlines() if f'outcome="{outcome}"' in line and "total" in line), "0 0")
    return float(line.split()[-1]) > 0


async def nobody_waits(service: Service) -> bool:
    return not await waiting(service)


async def waiting(service: Service) -> list[Any]:
    """Who is on the list."""
    with redis_server(service.settings) as (url, _):
        async with open_redis(url) as redis:
            return list(await redis.zrange(f"{service.settings.redis_namespace}:fold_in", 0, -1))


async def test_without_a_retweet_there_is_nothing_to_fit(service: Service) -> None:
    model = service.parts.ingest.models.required().onnx
    nothing_PD = np.zeros((0, model.dim), dtype=np.float16)
    with pytest.raises(ValueError, match="needs a retweet"):
        model.fold_in(nothing_PD, nothing_PD, np.zeros((0, *model.drawn, model.dim), dtype=np.float16))


async def test_an_import_into_a_running_service_gives_new_users_vectors(
    service: Service, author: str, tmp_path: Path
) -> None:
    """Who retweeted a tweet that was there, and one that comes with the import and is encoded later."""
    known = (await service.post(png("plum"), author_id=author)).json()["tweet_id"]
    at = datetime.now(UTC).isoformat()
    rows = {
        "users": [{"user_id": user, "created_at": at} for user in ("imported-1", "imported-2", "imported-3")],
        "follows": [],
        "tweets": [datasets.tweet("imported-t", "imported-3", created_at=at)],
        "retweets": [datasets.event("imported-1", known, at), datasets.event("imported-2", "imported-t", at)],
    }
    folder = datasets.write_folder(tmp_path / "more", rows, "jsonl")
    await asyncio.to_thread(import_into, service.settings, folder, tmp_path / "rejects")
    for user in ("imported-1", "imported-2"):
        await until(partial(has_vector, service, user), 30)
    assert not await has_vector(service, "imported-3")
