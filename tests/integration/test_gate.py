"""A version that is worse than the active one does not take its place."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, select

import training.__main__ as command_line
import training.encoding.encoder
import training.gate
import training.publish
import training.retrain
from contract.artifact import load, read_manifest
from contract.blobs import BlobStore
from contract.environment import StoreSettings
from contract.errors import ArtifactInvalid
from contract.progress import silent
from contract.runtime import OnnxModel, encode_tweets
from contract.tables import Retweet, Tweet, TweetVector
from tests.conftest import fresh_stores, import_into
from tests.unit.test_import_rejects import stored
from training.errors import GateClosed, InputRejected
from training.features import read_image
from training.gate import Comparison, Verdict, cut_of
from training.network import Network, load_network, split_by_time
from training.problem import Problem, problem_of
from training.results import Estimate
from training.retrain import RetrainReport
from training.settings import Gate, TrainingSettings
from training.stores import Stores, with_stores
from training.synthesize import SynthesisSettings, synthesize

SMALL = TrainingSettings(backbone="tiny", dim=16, text_dim=16, word_dim=16, epochs=6)
OTHER = SMALL.model_copy(update={"seed": 1})


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreSettings]:
    """With a network on which a model serves that learnt something; what the gate reads is the same on any stores."""
    folder = tmp_path_factory.mktemp("network") / "small"
    synthesize(folder, SynthesisSettings(users=150, tweets=240), silent)
    with fresh_stores("embedded") as settings:
        import_into(settings, folder)
        assert training.retrain.retrain(SMALL, settings, silent).verdict is None
        yield settings


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever retweets in training retweets any tweet; what is held out stays as it is."""
    real = problem_of

    def of_any_tweet(*arguments: Any) -> Problem:
        problem = real(*arguments)
        any_P = np.random.default_rng(0).integers(problem.tweets, size=len(problem.tweet_P))
        return replace(problem, tweet_P=any_P)

    monkeypatch.setattr(training.retrain, "problem_of", of_any_tweet)


def retrain(settings: TrainingSettings, stores: StoreSettings, **more: Any) -> RetrainReport:
    return training.retrain.retrain(settings, stores, silent, **more)


def active(stores: StoreSettings) -> tuple[Any, ...]:
    """The row of the version that was activated last."""
    return max(stored(stores)["model_versions"], key=lambda row: (row[2] is not None, row[2]))


@pytest.mark.usefixtures("noise")
def test_what_learnt_from_noise_is_stopped_and_let_through_by_force_alone(stores: StoreSettings) -> None:
    before = stored(stores)
    with pytest.raises(GateClosed, match="--force") as closed:
        retrain(OTHER, stores)
    assert active(stores)[0] in str(closed.value)
    assert stored(stores) == before
    forced = retrain(OTHER, stores, gate=Gate(force=True))
    assert forced.folder.name in str(closed.value)  # trained once
    assert forced.verdict is not None
    assert isinstance(forced.verdict.found, Comparison)
    assert forced.verdict.found.difference.high < -0.1
    version, _, _, metrics, *_ = active(stores)
    assert version == forced.version
    assert metrics["gate"]["active"] == forced.verdict.active
    assert (metrics["gate"]["passed"], metrics["gate"]["force"]) == (False, True)
    assert metrics["gate"]["difference"] == forced.verdict.found.difference.mean


def test_what_is_better_serves_and_what_was_compared_is_kept(stores: StoreSettings) -> None:
    report = retrain(SMALL.model_copy(update={"seed": 2}), stores)
    assert report.verdict is not None
    assert isinstance(report.verdict.found, Comparison)
    assert report.verdict.found.difference.low > 0.1
    assert report.verdict.found.new_auc == pytest.approx(report.metrics["amnl"]["auc"], abs=1e-3)
    version, _, _, metrics, *_ = active(stores)
    assert version == report.version
    assert metrics["gate"]["passed"]
    assert metrics["amnl"] == report.metrics["amnl"]


def test_what_is_stored_without_reading_a_picture_is_what_the_encoder_says(
    stores: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(training.encoding.encoder, "decode_image", None)
        report = retrain(SMALL.model_copy(update={"seed": 4}), stores, gate=Gate(worse_by=1))
    exported, rows = load(report.folder), stored(stores)
    preprocessing = exported.manifest.preprocessing
    blobs = BlobStore(stores.image_store_url)
    images = [read_image(blobs, row[3], preprocessing.image_size) for row in rows["tweets"]]
    texts = [row[2] for row in rows["tweets"]]
    expected_TD = encode_tweets(OnnxModel(exported), exported.tokenizer, preprocessing, images, texts)
    vectors = {row[1]: row[2] for row in rows["tweet_vectors"] if row[0] == report.version}
    found_TD = np.stack([np.frombuffer(vectors[row[0]], dtype="<f2") for row in rows["tweets"]])
    assert report.new_vectors == len(found_TD)
    assert np.abs(found_TD.astype(np.float32) - expected_TD).max() <= 2e-3  # a step of fp16 near 1.7 is 1e-3


def test_a_cache_of_something_else_is_noticed_before_anything_is_trained(stores: StoreSettings) -> None:
    settings = SMALL.model_copy(update={"seed": 9})
    network = asyncio.run(training.retrain.read_network(stores))
    (cached,) = (stores.var_dir / "features").glob(f"*/{min(network.image_keys)}.npy")
    right = cached.read_bytes()
    np.save(cached, np.load(cached)[::-1].copy())
    try:
        with pytest.raises(InputRejected, match="has not the features of image"):
            retrain(settings, stores, dry_run=True)
        assert not list((stores.var_dir / "runs").rglob("checkpoint.pt"))
    finally:
        cached.write_bytes(right)


def test_vectors_that_cannot_be_read_are_computed_anew(stores: StoreSettings, caplog: pytest.LogCaptureFixture) -> None:
    settings = SMALL.model_copy(update={"seed": 10})
    assert retrain(settings, stores, gate=Gate(worse_by=1), dry_run=True).new_vectors is None
    (kept,) = (stores.var_dir / "runs").rglob("tweet_vectors.npz")
    kept.write_bytes(kept.read_bytes()[:1_000])
    assert retrain(settings, stores, gate=Gate(worse_by=1)).new_vectors == len(stored(stores)["tweets"])
    assert "all tweets are encoded" in caplog.text


def test_a_tweet_that_is_deleted_while_a_version_is_trained_is_left_out(
    stores: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: list[str] = []
    real = training.retrain.train_and_export

    def deletes(folder: Path, run: object, network: Network, *more: Any) -> None:
        real(folder, run, network, *more)  # type: ignore[arg-type]  # as it came
        gone.append(network.tweet_ids[int(np.argmax(network.posted_T))])
        with_stores(stores, partial(delete_tweet, gone[0]))

    monkeypatch.setattr(training.retrain, "train_and_export", deletes)
    report = retrain(SMALL.model_copy(update={"seed": 6}), stores, gate=Gate(worse_by=1))
    assert report.verdict is not None
    assert isinstance(report.verdict.found, Comparison)
    assert gone[0] not in {row[0] for row in stored(stores)["tweets"]}


async def delete_tweet(tweet_id: str, opened: Stores) -> None:
    """With its picture, as a service does."""
    async with opened.engine.begin() as connection:
        image_key = await connection.scalar(select(Tweet.image_key).where(Tweet.tweet_id == tweet_id))
        for table in (TweetVector, Retweet, Tweet):
            await connection.execute(delete(table).where(table.tweet_id == tweet_id))
    assert image_key is not None
    opened.blobs.delete(image_key)


def test_what_was_found_last_is_kept_where_a_try_had_registered_the_version(
    stores: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SMALL.model_copy(update={"seed": 8})
    with monkeypatch.context() as patch:
        patch.setattr(training.publish, "encode_missing", None)
        with pytest.raises(TypeError):
            retrain(settings, stores, gate=Gate(worse_by=1))
    version = retrain(settings, stores, gate=Gate(worse_by=0.5, force=True)).version
    assert active(stores)[0] == version
    assert (active(stores)[3]["gate"]["force"], active(stores)[3]["gate"]["worse_by"]) == (True, 0.5)


def test_a_dry_run_changes_nothing_and_is_gone_on_from(stores: StoreSettings) -> None:
    settings, before = SMALL.model_copy(update={"seed": 3}), stored(stores)
    dry = retrain(settings, stores, gate=Gate(worse_by=1), dry_run=True)
    assert dry.new_vectors is None
    assert dry.verdict is not None
    assert stored(stores) == before
    assert retrain(settings, stores, gate=Gate(worse_by=1)).folder == dry.folder
    assert active(stores)[0] == dry.version


def test_a_run_whose_export_does_not_load_is_begun_anew(
    stores: StoreSettings, caplog: pytest.LogCaptureFixture
) -> None:
    settings, gate = SMALL.model_copy(update={"seed": 5}), Gate(worse_by=1)
    folder = retrain(settings, stores, gate=gate, dry_run=True).folder
    manifest = (folder / "manifest.json").read_text("utf-8")
    (folder / "manifest.json").write_text(manifest.replace('"schema_version": 3', '"schema_version": 2'), "utf-8")
    again = retrain(settings, stores, gate=gate)
    assert again.folder != folder
    assert active(stores)[0] == again.version
    assert "schema_version" in caplog.text


def test_an_active_version_that_does_not_load_needs_force(stores: StoreSettings) -> None:
    folder = stores.models_dir / active(stores)[0]
    manifest = (folder / "manifest.json").read_text("utf-8")
    (folder / "manifest.json").write_text(manifest.replace('"dim": 16', '"dim": 17'), "utf-8")
    settings = SMALL.model_copy(update={"seed": 4})
    with pytest.raises(GateClosed, match=r"cannot be compared .*user_vectors.npy"):
        retrain(settings, stores)
    retrain(settings, stores, gate=Gate(force=True))
    gate = active(stores)[3]["gate"]
    assert gate["not_compared"] == "it does not load"
    assert not gate["passed"]


def test_what_a_version_was_not_trained_on_does_not_move_with_the_network(stores: StoreSettings) -> None:
    """As where older retweets are imported later, or newer tweets deleted."""
    manifest = read_manifest(stores.models_dir / active(stores)[0])
    network = with_stores(stores, lambda opened: load_network(opened.engine))
    share = manifest.settings["test_share"]
    assert cut_of(manifest, network) == split_by_time(network, share, 0.1).test_from
    older = replace(network, retweet_at_R=network.retweet_at_R - 1_000_000)
    assert cut_of(manifest, older) == cut_of(manifest, network)
    unknown = manifest.model_copy(update={"judged_from": None})
    assert cut_of(unknown, older) == cut_of(manifest, network) - 1_000_000
    with pytest.raises(ArtifactInvalid, match="not of this code"):
        cut_of(unknown.model_copy(update={"settings": {}}), network)


@pytest.mark.parametrize(
    ("difference", "passed"),
    [
        (Estimate(-0.02, -0.03, -0.015), False),
        (Estimate(-0.02, -0.06, 0.01), True),
        (Estimate(-0.009, -0.012, -0.006), True),
        (Estimate(0.1, 0.05, 0.15), True),
    ],
)
def test_worse_by_more_than_the_setting_and_not_by_chance_is_stopped(difference: Estimate, passed: bool) -> None:
    assert Verdict("v1", Gate(worse_by=0.01), Comparison(100, 0.7, 0.7, difference)).passed == passed


def test_the_command_ends_with_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def closed(*given: object) -> RetrainReport:
        assert given[3:6] == (Gate(worse_by=0.5, force=True), True, None)
        raise GateClosed("worse")

    monkeypatch.setattr(training.retrain, "retrain", closed)
    monkeypatch.setenv("VAR_DIR", str(tmp_path))
    assert command_line.main(["retrain", "--worse-by", "0.5", "--force", "--dry-run"]) == 3
    assert capsys.readouterr().err == "error: worse\n"
    assert command_line.main(["retrain", "--worse-by", "-1"]) == 2
    assert "--worse-by" in capsys.readouterr().err
