"""Bulk encoding in this process: the database and Parquet files, killed on the way, beside what the service encodes."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import delete, select

from contract.artifact import load
from contract.blobs import BlobStore
from contract.environment import StoreSettings
from contract.filesystems import open_url
from contract.preprocessing import decode_image
from contract.runtime import OnnxModel, encode_tweets
from contract.tables import Tweet, TweetVector
from contract.transactions import changing
from contract.vectors import VectorStore
from tests.conftest import ROOT, copied_stores
from tests.integration.running import named, png, serving
from tests.object_store import object_store
from tests.processes import environment_of
from training.__main__ import main
from training.encoding import engines
from training.stores import Stores, with_stores

KILLED_AT = """
import importlib, os, signal, sys
module, name, calls = importlib.import_module(sys.argv[1]), sys.argv[2], int(sys.argv[3])
import training.__main__, training.encoding.stored, training.encode
training.encoding.stored.SHARD = 16
real, called = getattr(module, name), [0]
def counted(*arguments, **named):
    called[0] += 1
    if called[0] == calls:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **named)
setattr(module, name, counted)
sys.exit(training.__main__.main(sys.argv[4:]))
"""

KILLS = [
    ("training.encoding.stored", "store_vectors", 1, 0),
    ("training.encoding.stored", "store_vectors", 3, 32),
    ("training.encode", "copy_tweet_vectors", 1, 80),
]
"""Where the process is killed: at the n-th call of a function; and how many vectors are stored then."""

Vectors = dict[str, npt.NDArray[np.float16]]
Told = Callable[..., dict[str, Any]]


@pytest.fixture
def stores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreSettings]:
    """Stores on which a version serves, named by the environment."""
    kind = getattr(request, "param", "embedded")
    with copied_stores(request.getfixturevalue(f"trained_{kind}")) as settings:
        named(settings, monkeypatch)
        yield settings


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    def encode(*arguments: str) -> dict[str, Any]:
        capsys.readouterr()
        status = main(["encode", *arguments, "--json"])
        output = capsys.readouterr()
        assert status == 0, output.err
        answer: dict[str, Any] = json.loads(output.out)
        return answer

    return encode


def version_of(stores: StoreSettings) -> str:
    (model,) = stores.models_dir.iterdir()
    return model.name


def in_sql(stores: StoreSettings) -> Vectors:
    async def read(opened: Stores) -> Vectors:
        async with opened.engine.connect() as connection:
            rows = await connection.execute(select(TweetVector.tweet_id, TweetVector.vector))
            return {row.tweet_id: np.frombuffer(row.vector, dtype="<f2") for row in rows}

    return with_stores(stores, read)


def in_redis(stores: StoreSettings) -> Vectors:
    async def read(opened: Stores) -> Vectors:
        vectors, version = VectorStore(opened.redis, opened.namespace), version_of(stores)
        asked = sorted({tweet_id async for tweet_id in vectors.tweet_ids()})
        found, z_KD = await vectors.tweets(version, asked, load(stores.models_dir / version).manifest.dim)
        return dict(zip(found, z_KD, strict=True))

    return with_stores(stores, read)


def forget_vectors(stores: StoreSettings) -> None:
    """As if the version had never been encoded."""

    async def forget(opened: Stores) -> None:
        version = version_of(stores)
        async with changing(opened.engine) as connection:
            await connection.execute(delete(TweetVector))
        await VectorStore(opened.redis, opened.namespace).forget_tweets([version], sorted(in_sql_before))

    in_sql_before = in_sql(stores)
    with_stores(stores, forget)


def one_by_one(stores: StoreSettings) -> Vectors:
    """What encoder.onnx says of each stored tweet alone."""

    async def read(opened: Stores) -> list[Any]:
        async with opened.engine.connect() as connection:
            return list(await connection.execute(select(Tweet.tweet_id, Tweet.text, Tweet.image_key)))

    exported = load(stores.models_dir / version_of(stores))
    model, blobs = OnnxModel(exported, "cpu"), BlobStore(stores.image_store_url)
    size = exported.manifest.preprocessing.image_size

    def vector(row: Any) -> npt.NDArray[np.float16]:
        pixels = decode_image(blobs.get(row.image_key), size)
        (z_D,) = encode_tweets(model, exported.tokenizer, exported.manifest.preprocessing, [pixels], [row.text])
        return np.asarray(z_D)

    return {row.tweet_id: vector(row) for row in with_stores(stores, read)}


def assert_same(found: Vectors, expected: Vectors) -> None:
    """To fp16's last places: how many are encoded at a time may change these."""
    assert found.keys() == expected.keys()
    for tweet_id, z_D in expected.items():
        np.testing.assert_allclose(found[tweet_id], z_D, rtol=0, atol=2e-3, err_msg=tweet_id)


@pytest.mark.parametrize("stores", ["embedded", "servers"], indirect=True)
def test_killed_at_any_shard_it_goes_on_and_everything_is_there_once(stores: StoreSettings, told: Told) -> None:
    expected = one_by_one(stores)
    forget_vectors(stores)
    there = 0
    for module, name, calls, there in KILLS if stores.database_url is None else KILLS[1:2]:
        killed = [sys.executable, "-c", KILLED_AT, module, name, str(calls), "encode"]
        done = subprocess.run(killed, cwd=ROOT, env=environment_of(stores), capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert len(in_sql(stores)) == there
        assert not in_redis(stores)
    answer = told()
    assert (answer["encoded"], answer["known"], answer["in_redis"]) == (80 - there, there, True)
    assert_same(in_sql(stores), expected)
    assert_same(in_redis(stores), expected)
    assert told()["encoded"] == 0


def test_a_posted_tweet_is_encoded_in_bulk_as_by_the_service(stores: StoreSettings, told: Told) -> None:
    async def post() -> None:
        async with serving(stores) as service:
            answer = await service.post(png("green"), author_id="u0001", text="Calm lake. #morning", tweet_id="posted")
            assert answer.status_code == 201

    asyncio.run(post())
    served = in_sql(stores)
    forget_vectors(stores)
    answer = told()
    assert answer["encoded"] == 81
    assert_same(in_sql(stores), served)
    assert_same(in_redis(stores), served)


def test_a_picture_that_is_lost_is_named_and_all_others_are_encoded(stores: StoreSettings, told: Told) -> None:
    forget_vectors(stores)
    lost = sorted((stores.var_dir / "images").glob("??/*"))[0]
    lost.unlink()
    answer = told()
    assert (answer["encoded"], answer["rejected"]) == (79, {"tweets": 1})
    (line,) = Path(answer["rejects_file"]).read_text("utf-8").splitlines()
    reject = json.loads(line)
    assert (reject["field"], reject["reason"]) == ("image", f"image {lost.name} of the blob store is missing")
    assert reject["row"]["tweet_id"] not in in_sql(stores)
    assert len(in_redis(stores)) == 79
    assert main(["encode", "--strict"]) == 1
    assert main(["publish", version_of(stores)]) == 1


def test_all_vectors_of_a_version_as_parquet(
    stores: StoreSettings, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.encode._ROWS_A_FILE", 32)
    out = tmp_path / "vectors"
    for _ in range(2):
        answer = told("--to", str(out))
        assert (answer["encoded"], answer["known"], answer["to"]) == (0, 80, str(out))
        rows = rows_of(out)
        assert [row["tweet_id"] for row in rows] == sorted(in_sql(stores))
        assert_same(vectors_of(rows), in_sql(stores))
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["version"], manifest["tweets"], len(manifest["files"])) == (version_of(stores), 80, 3)
    exported = load(stores.models_dir / version_of(stores))
    assert manifest["encoder_sha256"] == exported.manifest.files["encoder.onnx"]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Of its files, in their order, as a reader of Parquet finds them."""
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path)
        assert table.schema.field("vector").type == pa.list_(pa.float16(), 16)
        rows += table.to_pylist()
    assert {row["version"] for row in rows} == {json.loads((folder / "plan.json").read_text())["version"]}
    return rows


def vectors_of(rows: list[dict[str, Any]]) -> Vectors:
    assert len({row["tweet_id"] for row in rows}) == len(rows)
    return {row["tweet_id"]: np.array(row["vector"], dtype=np.float16) for row in rows}


def as_parquet(stores: StoreSettings, path: Path, rows_a_group: int = 16) -> list[dict[str, Any]]:
    """The stored tweets with their pictures' bytes; the rows, too."""

    async def read(opened: Stores) -> list[Any]:
        async with opened.engine.connect() as connection:
            rows = select(Tweet.tweet_id, Tweet.text, Tweet.image_key).order_by(Tweet.tweet_id.desc())
            return list(await connection.execute(rows))

    blobs = BlobStore(stores.image_store_url)
    rows = [
        {"tweet_id": row.tweet_id, "text": row.text, "image": blobs.get(row.image_key), "likes": 3}
        for row in with_stores(stores, read)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=rows_a_group)
    return rows


def test_parquet_to_parquet_needs_no_store_and_goes_on_after_a_kill(
    stores: StoreSettings, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, version = one_by_one(stores), version_of(stores)
    as_parquet(stores, tmp_path / "pictures.parquet")
    arguments = [version, "--from", str(tmp_path / "pictures.parquet"), "--to", str(tmp_path / "vectors")]
    environment = environment_of(stores) | {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1",
    }
    method = ("training.encoding.vector_files", "write_whole")  # called for the plan, too
    killed = [sys.executable, "-c", KILLED_AT, *method, "4", "encode", *arguments]
    done = subprocess.run(killed, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list((tmp_path / "vectors").glob("*.parquet"))) == 2
    assert not (tmp_path / "vectors" / "manifest.json").exists()
    monkeypatch.setenv("DATABASE_URL", environment["DATABASE_URL"])
    answer = told(*arguments)
    assert (answer["encoded"], answer["known"], answer["in_redis"]) == (48, 32, False)
    assert_same(vectors_of(rows_of(tmp_path / "vectors")), expected)
    for path in (tmp_path / "vectors").glob("*.parquet"):
        ids = pq.read_table(path)["tweet_id"].to_pylist()
        assert ids == sorted(ids)
    answer = told(*arguments)
    assert (answer["encoded"], answer["known"]) == (0, 80)
    assert json.loads((tmp_path / "vectors" / "manifest.json").read_text())["tweets"] == 80


def test_bad_rows_of_parquet_are_listed_also_by_a_call_that_goes_on(
    stores: StoreSettings, told: Told, tmp_path: Path
) -> None:
    rows = as_parquet(stores, tmp_path / "all.parquet")[:40]
    folder, version = tmp_path / "in", version_of(stores)
    folder.mkdir()
    (folder / "one.png").write_bytes(png())
    (folder / "below").mkdir()
    good = [{**row, "image": "one.png"} for row in rows[:4]]
    paths = [
        *good,
        {**rows[4], "image": "../all.parquet"},
        {**rows[5], "image": "none.png"},
        {**rows[6], "image": "one.png", "text": "x" * 2_001},
        {**rows[7], "image": None},
        {**rows[7], "tweet_id": "folder", "image": "."},
        {**rows[7], "tweet_id": "nameless", "image": ""},
        {**rows[7], "tweet_id": "below", "image": "below"},
        {**rows[7], "tweet_id": "file", "image": "one.png/x"},
        {**rows[7], "tweet_id": "long", "image": "x" * 300},
    ]
    pq.write_table(pa.Table.from_pylist(paths), folder / "a.parquet")
    bad = [*rows[8:38], {**rows[38], "image": b"no picture"}, {**rows[39], "tweet_id": "no id!"}]
    pq.write_table(pa.Table.from_pylist([*bad, rows[8], {**rows[0]}]), folder / "b.parquet", row_group_size=8)
    arguments = [version, "--from", str(folder), "--to", str(tmp_path / "out"), "--rejects", str(tmp_path / "bad")]
    answer = told(*arguments)
    assert (answer["encoded"], answer["rejected"]) == (34, {"a": 9, "b": 4})
    listed = (tmp_path / "bad").read_text("utf-8")
    found = [(Path(line["file"]).name, line["line"], line["field"]) for line in map(json.loads, listed.splitlines())]
    a = [("a.parquet", 5, "image"), ("a.parquet", 6, "image"), ("a.parquet", 7, "text"), ("a.parquet", 8, "image")]
    a += [("a.parquet", row, "image") for row in range(9, 14)]
    b = [("b.parquet", 31, "image"), ("b.parquet", 32, "tweet_id"), ("b.parquet", 33, None), ("b.parquet", 34, None)]
    assert found == a + b
    reasons = [json.loads(line)["reason"] for line in listed.splitlines()]
    assert reasons[1] == "none.png is missing"
    assert reasons[4] == reasons[5] == "names no file: give its path beside this one"
    assert reasons[6:9] == [
        "below cannot be read (Is a directory)",
        "one.png/x cannot be read (Not a directory)",
        f"{'x' * 300} cannot be read (File name too long)",
    ]
    assert reasons[11] == f"duplicate of {folder / 'b.parquet'} row 1 ({rows[8]['tweet_id']}): remove one of the two"
    assert f"{folder / 'a.parquet'} row 1 " in reasons[12]
    written = vectors_of(rows_of(tmp_path / "out"))
    assert sorted(written) == sorted(row["tweet_id"] for row in [*good, *rows[8:38]])
    next((tmp_path / "out").glob("*-000003.parquet")).unlink()
    answer = told(*arguments)
    assert (answer["encoded"], answer["rejected"]) == (8 + len(good), {"a": 9, "b": 4})
    assert (tmp_path / "bad").read_text("utf-8") == listed


def test_a_picture_that_was_missing_is_encoded_once_it_is_there(
    stores: StoreSettings, told: Told, tmp_path: Path
) -> None:
    folder, version = tmp_path / "in", version_of(stores)
    folder.mkdir()
    (folder / "one.png").write_bytes(png())
    rows = [{"tweet_id": f"t{n}", "text": "Lake.", "image": "late.png" if n == 5 else "one.png"} for n in range(8)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet", row_group_size=4)
    lenient, strict = ([version, "--from", str(folder), "--to", str(tmp_path / name)] for name in ("lenient", "strict"))
    assert main(["encode", *strict, "--strict"]) == 1
    answer = told(*lenient)
    assert (answer["encoded"], answer["rejected"]) == (7, {"a": 1})
    (folder / "late.png").write_bytes(png())
    answer = told(*lenient)
    assert (answer["encoded"], answer["known"], answer["rejected"]) == (4, 4, {})
    answer = told(*strict, "--strict")
    assert (answer["encoded"], answer["known"]) == (4, 4)
    for name in ("lenient", "strict"):
        assert len(vectors_of(rows_of(tmp_path / name))) == 8
        assert json.loads((tmp_path / name / "manifest.json").read_text())["rejected"] == 0


def test_parquet_in_a_bucket(stores: StoreSettings, told: Told) -> None:
    picture, version = png(), version_of(stores)
    rows = [{"tweet_id": f"t{n}", "text": "Calm lake.", "image": "one.png"} for n in range(20)]
    with object_store() as server:
        fs, root = open_url(server.url("in"), "IN")
        fs.pipe_file(f"{root}/one.png", picture)
        with fs.open(f"{root}/rows.parquet", "wb") as file:
            pq.write_table(pa.Table.from_pylist([*rows, {**rows[0], "tweet_id": "lost", "image": "none.png"}]), file, 8)
        arguments = [version, "--from", server.url("in"), "--to", server.url("out")]
        answer = told(*arguments)
        assert (answer["encoded"], answer["rejected"]) == (20, {"rows": 1})
        assert told(*arguments)["known"] == 20
        names = {f"{version}-{shard:06d}.parquet" for shard in range(3)}
        assert server.keys("out") == {*names, "plan.json", "manifest.json"}
        found = []
        for name in sorted(names):
            with fs.open(server.url(f"out/{name}"), "rb") as file:
                found += pq.read_table(file).to_pylist()
    assert [row["tweet_id"] for row in found] == [
        *(f"t{n}" for n in range(8)),
        *sorted(f"t{n}" for n in range(8, 16)),
        *(f"t{n}" for n in range(16, 20)),
    ]
    assert len({tuple(row["vector"]) for row in found}) == 1


def test_a_folder_of_other_vectors_or_a_bad_file_is_refused(
    stores: StoreSettings, told: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, version = as_parquet(stores, tmp_path / "all.parquet"), version_of(stores)

    def refused(*arguments: str, status: int = 1) -> str:
        capsys.readouterr()
        assert main(["encode", version, *arguments]) == status
        return capsys.readouterr().err

    source, out = ["--from", str(tmp_path / "all.parquet")], ["--to", str(tmp_path / "out")]
    told(version, *source, *out)
    pq.write_table(pa.Table.from_pylist(rows[1:]), tmp_path / "all.parquet")
    assert f"{tmp_path / 'out'} has the vectors of another version or input" in refused(*source, *out)
    assert "is not an empty folder" in refused("--to", str(stores.models_dir))
    pq.write_table(pa.table({"tweet_id": ["t"], "text": [""]}), tmp_path / "all.parquet")
    assert "column image: missing (columns: tweet_id, text)" in refused(*source, *out)
    pq.write_table(pa.table({"tweet_id": ["t"], "text": [""], "image": [1.5]}), tmp_path / "all.parquet")
    assert "column image has the type double" in refused(*source, *out)
    pq.write_table(pa.table({"tweet_id": ["t"], "text": [""], "image": [b"?"]}), tmp_path / "all.parquet")
    assert "all 1 rows are rejected" in refused(*source, "--to", str(tmp_path / "other"))
    (tmp_path / "all.parquet").write_bytes(b"no Parquet")
    assert "cannot be read as Parquet" in refused(*source, *out)
    assert "has no Parquet files" in refused("--from", str(tmp_path / "none"), *out)
    assert "--from needs --to" in refused(*source, status=2)
    assert "--workers needs --ray" in refused("--workers", "2", status=2)


def test_without_ray_its_extra_is_named_and_neither_it_nor_torch_is_imported(
    stores: StoreSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    for verb in (["encode"], ["publish", version_of(stores)], ["retrain"]):
        assert main([*verb, "--ray", "local"]) == 1
        assert capsys.readouterr().err == "error: Ray is not installed: install .[ray], or leave --ray out\n"
    script = (
        "import sys, training.__main__ as command\n"
        "assert command.main(['encode']) == 0\n"
        "assert not {'ray', 'torch'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment_of(stores), check=True)
