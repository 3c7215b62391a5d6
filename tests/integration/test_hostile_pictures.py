"""Broken and odd pictures over real HTTP: a clear answer, and nothing of a refused one is left."""

import json

import numpy as np
import pytest
from PIL import Image

from contract.tables import TweetVector
from tests.hostile_pictures import PICTURES, saved, scene, turned
from tests.integration.hostile import Target

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What EXIF's orientations ask for (CIPA DC-008, 4.6.5)."""


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_taken_or_refused(at: Target, name: str) -> None:
    data, (status, slug) = PICTURES[name].make(), PICTURES[name].expected
    state = at.state()
    answer = at.post(data, f"{name}.jpg", text=name)
    assert answer.status_code == status, answer.text
    if slug is not None:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == f"/problems/{slug}"
        assert answer.json()["detail"].startswith("image: ")
        assert at.state() == state
        return
    assert answer.json()["status"] == "ready"
    kept = at.client.get(f"/tweets/{answer.json()['tweet_id']}/image")
    assert (kept.content, kept.headers["content-type"]) == (data, PICTURES[name].media_type)
    assert kept.headers["x-content-type-options"] == "nosniff"


def test_a_batch_of_them_has_the_same_answers(at: Target) -> None:
    pictures = {name: picture.make() for name, picture in PICTURES.items()}
    rows = [{"author_id": at.author, "image": name, "text": f"batch {name}"} for name in pictures]
    files = [("images", (name, data)) for name, data in pictures.items()]
    before = at.state()
    answer = at.client.post("/tweets:batch", data={"tweets": json.dumps(rows)}, files=files, timeout=120)
    assert answer.status_code == 200, answer.text
    items = dict(zip(pictures, answer.json()["items"], strict=True))
    assert {name: item["status"] for name, item in items.items()} == {
        name: picture.expected[0] for name, picture in PICTURES.items()
    }
    stored = {item["tweet"]["tweet_id"] for item in items.values() if item["tweet"]}
    assert {tweet for tweet, *_ in at.state()[0]} - {tweet for tweet, *_ in before[0]} == stored


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_picture_has_the_vector_of_the_upright_one(at: Target, orientation: int) -> None:
    upright = saved(scene().transpose(UPRIGHT[orientation]), "PNG")
    pictures = (turned(orientation), upright, saved(scene(), "PNG"))
    ids = [at.post(data, text="the same words").json()["tweet_id"] for data in pictures]
    vectors = dict(at.sql(TweetVector.tweet_id, TweetVector.vector))
    of_turned, of_upright, of_untagged = (np.frombuffer(vectors[tweet_id], dtype="<f2") for tweet_id in ids)
    np.testing.assert_array_equal(of_turned, of_upright)
    assert not np.array_equal(of_turned, of_untagged)
