# ruff: noqa: ARG001 - schemathesis gives hooks their arguments by name
"""What schemathesis loads beside the document: the world is made to fit its cases, so that they reach the code behind.

Ids stay as they were drawn: of those that fit the pattern, most are made known before the call. A hash draws which, so
that a seed gives the same run. Every call is written to the file SCHEMA_CALLS as a line of JSON.
"""

import hashlib
import io
import json
import os
import re
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import schemathesis
from hypothesis import strategies as st
from PIL import Image

from contract.ids import ID_PATTERN

URL, KEY = os.environ["SCHEMA_URL"], os.environ["SCHEMA_KEY"]
TWEET_TIME = "1970-01-01T00:00:00Z"
"""When tweets are posted that the hooks make known: no retweet comes before it."""
LONGEST_URL = 65_536
BEYOND_A_SCHEMA = {"unknown-author", "invalid-change", "invalid-cursor", "cursor-expired", "tweet-conflict"}
"""Refusals of what a schema allows, since it cannot say who is known, that two ids differ, or what was signed."""

client = httpx.Client(base_url=URL, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
calls = open(os.environ["SCHEMA_CALLS"], "w", encoding="utf-8")  # noqa: SIM115 - open as long as the run
cursors: dict[tuple[str, str], str] = {}


def picture(format_: str, colour: str, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format_)
    return buffer.getvalue()


pictures = [
    picture(name, colour, size)
    for name in ("JPEG", "PNG", "WEBP", "GIF")
    for colour in ("red", "navy")
    for size in ((40, 30), (1, 1), (5, 300))
]
schemathesis.openapi.format("binary", st.sampled_from(pictures))
now = datetime.now(UTC).replace(tzinfo=None)
moments = st.datetimes(datetime(2026, 3, 1), now, timezones=st.just(UTC)).map(datetime.isoformat)
schemathesis.openapi.format("date-time", moments)
ids = st.from_regex(ID_PATTERN, fullmatch=True)
row = st.fixed_dictionaries(
    {"author_id": ids, "image": st.sampled_from([f"images.{end}" for end in ("jpg", "png", "webp", "gif")])},
    optional={"text": st.text(max_size=100), "tweet_id": ids, "created_at": moments},
)
schemathesis.openapi.format("batch", st.lists(row, min_size=1, max_size=8).map(json.dumps))


def is_id(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(ID_PATTERN.strip("^$"), value) is not None


def chosen(value: str, of_ten: int) -> bool:
    return hashlib.sha256(value.encode()).digest()[0] % 10 < of_ten


def make_user(user_id: Any) -> None:
    if is_id(user_id) and chosen(user_id, 8):
        made = client.post("/users", json={"user_id": user_id})
        assert made.status_code in (200, 201, 409), made.text  # 409: they were deleted


def choose_leaver(case: Any) -> None:
    """Nobody whom other cases use: a deleted user's id is taken for good."""
    if is_id(user_id := case.path_parameters.get("user_id")):
        case.path_parameters["user_id"] = f"leaves-{hashlib.sha256(user_id.encode()).hexdigest()[:16]}"


def make_tweet(tweet_id: Any) -> None:
    if is_id(tweet_id) and chosen(tweet_id, 8):
        client.post("/users", json={"user_id": "author-of-all"}).raise_for_status()
        fields = {"author_id": "author-of-all", "tweet_id": tweet_id, "created_at": TWEET_TIME}
        made = client.post("/tweets", data=fields, files={"image": picture("PNG", "teal", (20, 20))})
        assert made.status_code in (201, 409), made.text  # 409: it is there, or was deleted


def wait_for_redis() -> None:
    """Until it has everything again that a case before may have had written anew."""
    while client.get("/health/ready").json()["redis"] != "ok":
        time.sleep(0.05)


def choose_version(asked: dict[str, Any], method: str) -> None:
    """One that is there; to be deleted one that is not, since others are yet to be activated."""
    version: Any = asked.get("version")
    if not is_id(version):
        return
    known = client.get("/models").json()
    names = [model["version"] for model in known["models"]]
    if method == "DELETE":
        asked["version"] = "never-there" if version in names else version
    elif chosen(version, 8):
        others = [name for name in names if name != known["active"]]
        asked["version"] = (others or names)[0]


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Two things that schemathesis does not read as they are meant.

    For a form whose parts have types, its coverage phase calls "" a good value of every other field. `contentSchema`
    is an annotation to it, so that any words would do as a batch.
    """
    for path in ("/tweets", "/tweets:batch"):
        del raw_schema["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["encoding"]
    raw_schema["components"]["schemas"]["Body_postTweets"]["properties"]["tweets"]["format"] = "batch"


def parsed(tweets: str) -> list[dict[str, Any]]:
    """The objects of a batch; none where it is no batch."""
    try:
        rows = json.loads(tweets)
    except (ValueError, RecursionError):
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    if case.operation.label == "DELETE /users/{user_id}":
        choose_leaver(case)
    make_user(case.path_parameters.get("user_id"))
    make_user(case.path_parameters.get("followee_id"))
    if case.operation.label != "DELETE /tweets/{tweet_id}" or chosen(str(case.path_parameters), 5):
        make_tweet(case.path_parameters.get("tweet_id"))
    if case.operation.label == "GET /tweets" and isinstance(case.query.get("tweet_id"), list):
        for tweet_id in case.query["tweet_id"][:2]:
            make_tweet(tweet_id)
    if case.operation.path.startswith("/models") and case.method != "GET":
        wait_for_redis()
        choose_version(case.path_parameters, case.method)
    if "version" in case.query:
        wait_for_redis()
        choose_version(case.query, case.method)
    if isinstance(case.body, dict):
        make_user(case.body.get("author_id"))
        for row in parsed(case.body["tweets"]) if isinstance(case.body.get("tweets"), str) else []:
            make_user(row.get("author_id"))
    asked = (str(case.path_parameters.get("user_id")), str(case.query.get("scope", "followees")))
    if "cursor" in case.query and asked in cursors:
        case.query["cursor"] = cursors[asked]


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    told: dict[str, Any] = {"operation": case.operation.label, "method": case.method, "status": response.status_code}
    if response.status_code == 200 and case.operation.label.endswith("/recommendations"):
        answer = response.json()
        if answer["next_cursor"] and "version" not in case.query:
            cursors[answer["user_id"], answer["scope"]] = answer["next_cursor"]
    if response.status_code == 200 and case.operation.label == "POST /tweets:batch":
        told["items"] = [item["status"] for item in response.json()["items"]]
    calls.write(json.dumps(told) + "\n")
    calls.flush()


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """False: no failure. A form has no types, so that a number or null there is the words that it is sent as.

    A URL that is longer than the server reads is no HTTP for it. A user who was made is not the one that is deleted
    (`choose_leaver`).
    """
    if failure.title == "Created resource not found" and case.operation.label == "DELETE /users/{user_id}":
        return False
    if response.status_code == 400 and len(response.request.url) > LONGEST_URL:
        return False
    if failure.title == "Schema-violating request accepted" and case.media_type == "multipart/form-data":
        sent = [case.body[name] for name in ("author_id", "text", "tweet_id", "created_at") if name in case.body]
        return all(isinstance(value, str) for value in sent)
    if failure.title != "Schema-valid request rejected":
        return True
    return str(response.json()["type"]).removeprefix("/problems/") not in BEYOND_A_SCHEMA
