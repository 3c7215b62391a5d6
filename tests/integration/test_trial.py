"""A version on trial: it serves a share of the users beside the active one, and what came of it is told."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.environment import StoreSettings
from contract.marks import writing
from contract.progress import silent
from contract.tables import Retweet, TweetVector
from contract.trial import Trial
from contract.vectors import VectorStore
from contract.versions import Arm, latest_first
from tests.conftest import KINDS, trained_stores
from tests.integration.running import Service, changed, fields, new_user, png, problem, serving, until
from tests.integration.test_lost import lose_everything, whole
from training.__main__ import main
from training.models import list_versions
from training.publish import forget_old_versions
from training.retrain import publish_folder, retrain
from training.settings import Gate, TrainingSettings
from training.stores import Stores, with_stores
from training.trials import LEAST_RETWEETERS, LEAST_USERS, TrialSoFar, difference, enough, trial_so_far

pytestmark = pytest.mark.anyio
AT = datetime(2026, 1, 2, tzinfo=UTC)
USERS = [f"u{n:04}" for n in range(1, 61)]


@pytest.fixture(scope="module", params=KINDS)
def stores(request: pytest.FixtureRequest, tiny_network: Path) -> Iterator[StoreSettings]:
    """With two versions."""
    with trained_stores(request.param, tiny_network, versions=2) as settings:
        yield settings


@pytest.fixture(scope="module")
def versions(stores: StoreSettings) -> list[str]:
    """The one that serves last."""
    return sorted(folder.name for folder in stores.models_dir.iterdir())


@pytest.fixture
async def service(stores: StoreSettings, versions: list[str]) -> AsyncIterator[Service]:
    async with serving(stores) as started:
        await changed(started, "POST", "/models:end-trial", 200)
        await changed(started, "POST", f"/models/{versions[1]}:activate", 200)
        yield started


async def on_trial(service: Service, version: str, share: float) -> None:
    """Put it on trial, and wait until this process follows."""
    body = (await changed(service, "POST", f"/models/{version}:trial", 200, json={"share": share})).json()
    assert (body["trial"]["version"], body["trial"]["share"]) == (version, share)

    async def follows() -> bool:
        found = service.parts.ingest.models.on_trial
        return found is not None and found.trial == Trial(version, share)

    await until(follows, 10)


async def answer(service: Service, user: str) -> dict[str, Any]:
    response = await service.client.get(f"/users/{user}/recommendations", params={"k": 3})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def test_a_share_of_the_users_is_served_by_it(service: Service, versions: list[str]) -> None:
    assert not (await answer(service, USERS[0]))["trial"]
    chosen: dict[float, set[str]] = {}
    for share in (0.2, 0.6, 1.0):
        await on_trial(service, versions[0], share)
        answers = {user: await answer(service, user) for user in USERS}
        chosen[share] = {user for user, one in answers.items() if one["trial"]}
        assert {one["version"] for one in answers.values() if one["trial"]} == {versions[0]}
        assert {one["version"] for one in answers.values() if not one["trial"]} <= {versions[1]}
        assert chosen[share] == {user for user in USERS if Trial(versions[0], share).has(user)}
    assert chosen[0.2] < chosen[0.6] < chosen[1.0] == set(USERS)
    await changed(service, "POST", "/models:end-trial", 200)
    assert await ended(service)
    assert {(await answer(service, user))["version"] for user in USERS} == {versions[1]}
    assert (await service.client.get("/models")).json()["trial"] is None


async def ended(service: Service) -> bool:
    return service.parts.ingest.models.on_trial is None


async def test_its_answers_are_those_that_it_would_give_alone(service: Service, versions: list[str]) -> None:
    async def items(user: str) -> Any:
        return (await answer(service, user))["items"]

    await changed(service, "POST", f"/models/{versions[0]}:activate", 200)
    alone = {user: await items(user) for user in USERS}
    await changed(service, "POST", f"/models/{versions[1]}:activate", 200)
    active = {user: await items(user) for user in USERS}
    await on_trial(service, versions[0], 0.5)
    for user in USERS:
        assert await items(user) == (alone if Trial(versions[0], 0.5).has(user) else active)[user]


async def test_a_posted_tweet_and_a_new_user_are_known_to_both(service: Service, versions: list[str]) -> None:
    await on_trial(service, versions[0], 0.5)
    author = await new_user(service, "trial-author")
    for n in range(3):
        assert (await service.post(png("teal"), author_id=author, tweet_id=f"trial-{n}")).status_code == 201
    known = await service.sql(TweetVector.tweet_id, TweetVector.version)
    assert {(f"trial-{n}", version) for n in range(3) for version in versions} <= set(known)
    names = [f"trial-reader-{n}" for n in range(200)]
    trial = Trial(versions[0], 0.5)
    chosen = [[name for name in names if trial.has(name) is inside][:4] for inside in (True, False)]
    readers = [await new_user(service, name) for name in (*chosen[0], *chosen[1])]
    for reader in readers:
        await changed(service, "PUT", f"/users/{reader}/followees/{author}", 201)
        body = await answer(service, reader)
        assert {item["tweet_id"] for item in body["items"]} == {"trial-0", "trial-1", "trial-2"}
    assert {(await answer(service, reader))["trial"] for reader in readers} == {True, False}
    for reader in readers:
        await changed(service, "PUT", f"/users/{reader}/retweets/trial-0", 201)

    async def folded_in() -> bool:
        return all([(await answer(service, reader))["folded_in"] for reader in readers])

    async def under_both() -> bool:
        vectors, dim = service.parts.ingest.vectors, service.parts.ingest.models.required().manifest.dim
        return all([(await vectors.users(version, readers, dim))[0] == readers for version in versions])

    await until(folded_in, 20)
    await until(under_both, 20)


async def counted(service: Service, version: str) -> int:
    """Answers of a version in trials, as the metrics have them."""
    text = (await service.client.get("/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith(f'trial_answers_total{{version="{version}"}}')]
    return int(float(line.split(" ")[1]))


async def test_retweets_are_due_to_the_version_that_recommended(service: Service, versions: list[str]) -> None:
    await on_trial(service, versions[0], 0.5)
    due: dict[tuple[str, str], str | None] = {}
    trial = Trial(versions[0], 0.5)
    offered = [user for user in USERS if len(await service.recommended(user, 100)) > 3]
    chosen = [[user for user in offered if trial.has(user) is inside][:8] for inside in (True, False)]
    assert all(chosen)
    before = {version: await counted(service, version) for version in versions}
    assert min(before.values()) > 0
    await changed(service, "POST", "/models:end-trial", 200)
    await on_trial(service, versions[0], 0.5)  # another trial: what was counted before is not
    for user in (*chosen[0], *chosen[1]):
        body = await answer(service, user)
        assert body["items"], user
        tweet = body["items"][0]["tweet_id"]
        await changed(service, "PUT", f"/users/{user}/retweets/{tweet}", 201)
        due[user, tweet] = body["version"]
        shown = {item["tweet_id"] for item in body["items"]}
        others = [item for item in await service.recommended(user, 100) if item["tweet_id"] not in shown]
        assert others
    assert set(due.values()) == set(versions)
    rows = {row[:2]: row[2] for row in await service.sql(Retweet.user_id, Retweet.tweet_id, Retweet.recommended_by)}
    assert {key: rows[key] for key in due} == due
    arms = {arm["version"]: arm for arm in (await service.client.get("/models")).json()["trial"]["arms"]}
    assert list(arms) == [versions[1], versions[0]]
    for version in versions:
        mine = [key for key, by in due.items() if by == version]
        assert arms[version] == {
            "version": version,
            "users": len(mine),
            "answers": 2 * len(mine),
            "retweets": len(mine),
        }
        assert await counted(service, version) - before[version] == 2 * len(mine)
        text = (await service.client.get("/metrics")).text
        assert f'trial_retweets_total{{version="{version}"}} {len(mine)}.0' in text
    (user, tweet), *_ = due
    await changed(service, "DELETE", f"/users/{user}/retweets/{tweet}", 204)
    unseen = await new_user(service, "saw-nothing")
    await changed(service, "PUT", f"/users/{unseen}/retweets/{tweet}", 201)
    rows = {row[:2]: row[2] for row in await service.sql(Retweet.user_id, Retweet.tweet_id, Retweet.recommended_by)}
    assert rows[unseen, tweet] is None


async def test_it_cannot_be_deleted_and_survives_a_restart_and_a_lost_redis(
    service: Service, stores: StoreSettings, versions: list[str]
) -> None:
    await on_trial(service, versions[0], 0.5)
    assert "trial" in problem(await service.client.delete(f"/models/{versions[0]}"), 409, "version-unfit")["detail"]
    async with serving(stores) as other:
        found = other.parts.ingest.models.on_trial
        assert found is not None
        assert found.trial == Trial(versions[0], 0.5)
    expected = {user: (await answer(service, user))["items"] for user in USERS}
    served = {user: (await answer(service, user))["version"] for user in USERS}
    await lose_everything(service)
    assert served == {user: (await answer(service, user))["version"] for user in USERS}
    await until(lambda: whole(service), 20)
    assert served == {user: (await answer(service, user))["version"] for user in USERS}

    async def the_same() -> bool:
        return expected == {user: (await answer(service, user))["items"] for user in USERS}

    await until(the_same, 20)


async def test_one_that_does_not_load_keeps_no_service_from_starting(
    service: Service, stores: StoreSettings, versions: list[str]
) -> None:
    await on_trial(service, versions[0], 0.5)
    file = stores.models_dir / versions[0] / "ranker.onnx"
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    try:
        async with serving(stores) as other:
            assert await ended(other)
            assert {(await answer(other, user))["version"] for user in USERS[:20]} == {versions[1]}
    finally:
        file.write_bytes(data)


async def test_one_that_is_published_on_trial_is_encoded_under_once(
    service: Service, stores: StoreSettings, versions: list[str]
) -> None:
    await asyncio.to_thread(publish_folder, stores.models_dir / versions[0], stores, silent, share=0.25)
    models = service.parts.ingest.models

    async def follows() -> bool:
        return models.on_trial is not None and models.upcoming is None

    await until(follows, 10)
    assert [model.version for model in models.beside()] == [versions[0]]


async def test_the_same_version_activated_again_counts_nothing_anew(service: Service, versions: list[str]) -> None:
    await on_trial(service, versions[0], 0.5)
    for user in USERS[:10]:
        await answer(service, user)
    before = (await service.client.get("/models")).json()["trial"]
    assert sum(arm["answers"] for arm in before["arms"]) == 10
    again = (await changed(service, "POST", f"/models/{versions[1]}:activate", 200)).json()["trial"]
    assert again == before  # it served already: nothing changes


async def test_activating_it_ends_the_trial(service: Service, versions: list[str]) -> None:
    await on_trial(service, versions[0], 0.5)
    body = (await changed(service, "POST", f"/models/{versions[0]}:activate", 200)).json()
    assert (body["active"], body["trial"]) == (versions[0], None)
    await until(lambda: ended(service), 5)
    problem(await service.client.post(f"/models/{versions[0]}:trial", json={"share": 0.1}), 409, "version-unfit")


async def test_what_is_wrong_is_said(service: Service, versions: list[str]) -> None:
    problem(await service.client.post("/models/v0:trial", json={"share": 0.1}), 404, "unknown-version")
    for share in (-0.1, 1.1, "all", None):
        body = problem(
            await service.client.post(f"/models/{versions[0]}:trial", json={"share": share}), 422, "invalid-request"
        )
        assert fields(body) == ["share"]
    file = service.settings.models_dir / versions[0] / "ranker.onnx"
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    try:
        body = problem(
            await service.client.post(f"/models/{versions[0]}:trial", json={"share": 0.1}), 409, "version-unfit"
        )
        assert "ranker.onnx" in body["detail"]
    finally:
        file.write_bytes(data)
    assert await ended(service)


async def test_on_trial_for_nobody_it_only_looks_on(service: Service, versions: list[str]) -> None:
    await on_trial(service, versions[0], 0)
    for user in USERS[:10]:
        assert (await answer(service, user))["version"] == versions[1]

    async def measured() -> bool:
        text = (await service.client.get("/metrics")).text
        return f'shadow_overlap_count{{version="{versions[0]}"}}' in text

    await until(measured, 5)
    text = (await service.client.get("/metrics")).text
    assert f'shadow_duration_seconds_count{{version="{versions[0]}"}}' in text
    assert "shadow_failures_total{" not in text


def test_a_new_version_is_published_on_trial(
    stores: StoreSettings, versions: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last test: there are three versions then."""
    for name, value in stores.model_dump().items():
        monkeypatch.setenv(name.upper(), str(value))
        if value is None:
            monkeypatch.delenv(name.upper())
    assert main(["models", "end-trial"]) == 0
    assert main(["models", "trial"]) == 1
    assert "no version is on trial" in capsys.readouterr().err
    small = TrainingSettings(backbone="tiny", dim=16, text_dim=16, word_dim=16, epochs=1, seed=7)
    new = retrain(small, stores, silent, Gate(worse_by=1), share=0.25).version
    assert statuses(stores) == {versions[1]: "active", versions[0]: "kept", new: "trial, 25 %"}
    since = with_stores(stores, trial_so_far).since
    for version in versions:  # however often others are published, the vectors of the one on trial are kept
        publish_folder(stores.models_dir / version, stores, silent)
    assert statuses(stores) == {versions[1]: "active", versions[0]: "kept", new: "trial, 25 %"}
    assert with_stores(stores, trial_so_far).since > since  # beside another active version it is counted anew
    assert main(["models", "trial", new, "--share", ".5"]) == 0
    assert main(["models", "trial"]) == 0
    out = capsys.readouterr().out
    assert f"version {new} serves 50 % of the users, on trial, now" in out
    assert f"{new} is on trial for 50 % of the users" in out
    assert "too little yet to compare" in out
    assert main(["models", "rebuild-redis"]) == 0
    assert with_stores(stores, lambda opened: VectorStore(opened.redis, opened.namespace).trial()) == Trial(new, 0.5)
    assert main(["models", "delete", new]) == 1
    assert "on trial: end that first" in capsys.readouterr().err
    assert main(["models", "end-trial"]) == 0
    assert statuses(stores)[new] == "retired"
    with_stores(stores, forget_while_it_is_published_elsewhere)
    assert with_stores(stores, lambda opened: VectorStore(opened.redis, opened.namespace).versions()) >= {new}
    publish_folder(stores.models_dir / versions[1], stores, silent)
    assert with_stores(stores, lambda opened: VectorStore(opened.redis, opened.namespace).versions()) == set(versions)
    assert main(["models", "trial", new, "--share", ".5"]) == 1
    assert f"publish {new} --trial SHARE" in capsys.readouterr().err
    assert main(["publish", new, "--trial", ".1"]) == 0
    assert statuses(stores)[new] == "trial, 10 %"
    assert main(["publish", versions[1], "--trial", ".1"]) == 1
    assert "there is no other version that serves" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["models", "trial", new, "--share", "10"])
    assert "10 is no share" in capsys.readouterr().err


async def forget_while_it_is_published_elsewhere(stores: Stores) -> None:
    async with stores.engine.connect() as connection:
        known = {row.version for row in await latest_first(connection)}
    async with AsyncExitStack() as stack:
        for version in known:
            await stack.enter_async_context(writing(stores.redis, stores.namespace, version))
        await forget_old_versions(stores)


def statuses(stores: StoreSettings) -> dict[str, str]:
    known = with_stores(stores, lambda opened: list_versions(opened, stores.models_dir))
    return {one.version: one.status for one in known}


def test_a_share_of_the_users_is_about_as_great_as_it_says() -> None:
    for share in (0.0, 0.1, 0.5, 1.0):
        trial = Trial("20260401T120000Z-0123456789ab", share)
        assert sum(trial.has(f"u{n}") for n in range(10_000)) == pytest.approx(10_000 * share, abs=150)
        assert Trial.read(str(trial)) == trial


def test_few_users_are_not_compared() -> None:
    def arm(users: int, retweeting: int) -> Arm:
        retweets = {f"u{n}": 1 for n in range(retweeting)} | {"never-answered": 7}
        return Arm("v", {f"u{n}": 2 for n in range(users)}, retweets)

    assert enough(arm(LEAST_USERS, LEAST_RETWEETERS))
    assert not enough(arm(LEAST_USERS - 1, LEAST_RETWEETERS))
    assert not enough(arm(LEAST_USERS, LEAST_RETWEETERS - 1))
    many = arm(100, 50)
    told = TrialSoFar(Trial("v", 0.1), AT, (many, many)).lines()
    assert "250.0 in 1,000 answers" in told[1]
    assert "+0.0" in told[3]
    assert "too little" in TrialSoFar(Trial("v", 0.1), AT, (many, arm(3, 3))).lines()[3]
    assert "shadow_overlap" in TrialSoFar(Trial("v", 0.0), AT, (many, many)).lines()[1]


def test_the_difference_has_an_interval_over_users() -> None:
    generator = np.random.default_rng(0)
    answers = {f"u{n}": int(generator.integers(1, 9)) for n in range(400)}
    few = {user: int(generator.binomial(count, 0.1)) for user, count in answers.items()}
    many = {user: int(generator.binomial(count, 0.3)) for user, count in answers.items()}
    mean, low, high = difference(Arm("a", answers, few), Arm("b", answers, many))
    rate = (sum(many.values()) - sum(few.values())) / sum(answers.values())
    assert mean == pytest.approx(rate)
    assert 0 < low < mean < high
    mean, low, high = difference(Arm("a", answers, few), Arm("b", answers, few))
    assert low < mean == 0 < high
