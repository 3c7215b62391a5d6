"""Hostile forms, JSON, ids, times, paths and queries: a clear 4xx or a right answer, never a 5xx."""

import json
from typing import Any

import pytest

from tests.hostile_pictures import GOOD_PNG
from tests.integration.hostile import (
    END,
    IMAGE,
    Target,
    author_part,
    part,
    status,
)
from tests.integration.running import fields, problem


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


WORDS = {
    "2000-characters": "a" * 2_000,
    "2000-emoji": "\U0001f600" * 2_000,
    "1000-hashtags": "#a" * 1_000,
    "2000-sentence-ends": "." * 2_000,
    "right-to-left": "\u202e\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627\u202c \u2067abc\u2069",
    "zero-width": "\u200b\u200d\ufeff\u2060",
    "joined-emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467\U0001f3fd",
    "combining": "e" + "\u0301" * 1_000,
    "control-characters": "".join(map(chr, range(1, 32))) + "\x7f\x85",
    "not-characters": "\ufffe\uffff\U0010ffff",
    "markup": "<script>alert(1)</script> '; DROP TABLE tweets; -- ${jndi:ldap://x} {{7*7}} %s%n",
    "separators": "a\r\nb\u2028c\u2029d",
}


@pytest.mark.parametrize("name", WORDS)
def test_words_come_back_as_they_were_sent(at: Target, name: str) -> None:
    answer = at.post(GOOD_PNG, text=WORDS[name])
    assert (answer.status_code, answer.json()["status"]) == (201, "ready"), answer.text
    assert at.client.get(f"/tweets/{answer.json()['tweet_id']}").json()["text"] == WORDS[name]


@pytest.mark.parametrize(
    "words", ["\U0001f600" * 2_001, "#tag " * 10_000, "x" * 1_000_000], ids=["emoji", "hashtags", "million"]
)
def test_too_many_words_are_refused(unchanged: Target, words: str) -> None:
    assert fields(problem(unchanged.post(GOOD_PNG, text=words), 422, "invalid-request")) == ["text"]


FILE_NAMES = ["../../etc/passwd", "..\\..\\boot.ini", "con.jpg", "a" * 1_000, "%00.png", "é\u202egnp.exe", ";|`id`"]


@pytest.mark.parametrize("name", FILE_NAMES, ids=range(len(FILE_NAMES)))
def test_a_file_name_means_nothing(at: Target, name: str) -> None:
    assert at.post(GOOD_PNG, name).status_code == 201


TAKEN_FORMS: dict[str, tuple[bytes, str]] = {
    "file-name-with-nul": (part("image", GOOD_PNG, filename="a\0b") + END, "multipart/form-data; boundary=x"),
    "picture-said-to-be-a-page": (
        part("image", GOOD_PNG, "Content-Type: text/html", filename="i") + END,
        "multipart/form-data; boundary=x",
    ),
    "fields-unknown-to-us": (part("likes", b"9") + IMAGE + END, "multipart/form-data; boundary=x"),
    "words-behind-the-last-part": (IMAGE + END + b"epilogue", "multipart/form-data; boundary=x"),
    "an-unknown-charset": (IMAGE + END, "multipart/form-data; boundary=x; charset=none-such"),
}


@pytest.mark.parametrize("name", TAKEN_FORMS)
def test_an_odd_form_is_read(at: Target, name: str) -> None:
    body, content_type = TAKEN_FORMS[name]
    assert at.multipart(author_part(at) + body, content_type).status_code == 201


@pytest.mark.parametrize("words", [b"caf\xe9", b"\xff\xfe", b"\xed\xa0\x80"], ids=["latin-1", "no-utf-8", "surrogate"])
def test_words_in_no_utf8_are_read_as_latin_1(at: Target, words: bytes) -> None:
    answer = at.multipart(author_part(at) + part("text", words) + IMAGE + END)
    assert (answer.status_code, answer.json()["text"]) == (201, words.decode("latin-1"))


FORM = "multipart/form-data; boundary=x"
BROKEN_FORMS: dict[str, tuple[bytes, str, set[int]]] = {
    "no-boundary": (IMAGE + END, "multipart/form-data", {400}),
    "empty-boundary": (IMAGE + END, "multipart/form-data; boundary=", {400, 422}),
    "wrong-boundary": (IMAGE + END, "multipart/form-data; boundary=other", {400}),
    "boundary-of-10000": (IMAGE + END, "multipart/form-data; boundary=" + "y" * 10_000, {400}),
    "nothing-at-all": (b"", FORM, {400, 422}),
    "words-between-parts": (b"words\r\n" + IMAGE + END, FORM, {422}),
    "file-name-of-10000": (part("image", GOOD_PNG, filename="f" * 10_000) + END, FORM, {400}),
    "no-end": (IMAGE, FORM, {400, 422}),
    "part-without-a-name": (b"--x\r\nContent-Disposition: form-data\r\n\r\nwords\r\n" + IMAGE + END, FORM, {400}),
    "part-without-headers": (b"--x\r\n\r\nwords\r\n" + IMAGE + END, FORM, {400}),
    "header-of-a-part-of-1-mb": (part("a", b"", "X: " + "y" * 1_000_000) + IMAGE + END, FORM, {400}),
    "2000-headers-of-a-part": (part("a", b"", *["X: y"] * 2_000) + IMAGE + END, FORM, {400}),
    "2000-fields": (part("a", b"") * 2_000 + IMAGE + END, FORM, {400}),
    "2000-files": (part("a", b"", filename="f") * 2_000 + IMAGE + END, FORM, {400}),
    "field-of-2-mb": (part("text", b"a" * 2_000_000) + IMAGE + END, FORM, {400}),
    "charset-undefined": (IMAGE + END, FORM + "; charset=undefined", {400}),
    "charset-of-escapes": (part("text", rb"\ud800") + IMAGE + END, FORM + "; charset=unicode_escape", {422}),
    "image-as-words": (part("image", GOOD_PNG) + END, FORM, {422}),
    "words-as-file": (part("text", b"words", filename="t") + IMAGE + END, FORM, {422}),
    "two-images": (IMAGE + IMAGE + END, FORM, {422}),
    "two-texts": (part("text", b"a") + part("text", b"b") + IMAGE + END, FORM, {422}),
    "an-empty-id": (part("tweet_id", b"") + IMAGE + END, FORM, {422}),
    "an-empty-time": (part("created_at", b"") + IMAGE + END, FORM, {422}),
    "json": (b'{"image": "x"}', "application/json", {422}),
    "url-encoded": (b"image=x&author_id=y", "application/x-www-form-urlencoded", {422}),
    "plain-text": (b"image", "text/plain", {422}),
    "mixed": (IMAGE + END, "multipart/mixed; boundary=x", {422}),
    "no-type": (IMAGE + END, "", {422}),
    "odd-type": (IMAGE + END, ";;;=", {422}),
}


@pytest.mark.parametrize("name", BROKEN_FORMS)
def test_a_broken_form_is_refused(unchanged: Target, name: str) -> None:
    body, content_type, expected = BROKEN_FORMS[name]
    answer = unchanged.multipart(author_part(unchanged) + body if body else body, content_type)
    assert answer.status_code in expected, answer.text
    slug = "invalid-body" if answer.status_code == 400 else "invalid-request"
    problem(answer, answer.status_code, slug)


def test_two_authors_are_named(unchanged: Target) -> None:
    body = author_part(unchanged) * 2 + IMAGE + END
    assert fields(problem(unchanged.multipart(body), 422, "invalid-request")) == ["author_id"]


IDS = [
    "a\0b",
    "a\x1fb",
    "a\nb",
    "a\n",
    "\u202eabc",
    "é",
    "\u0661",
    "a.b",
    ".",
    "..",
    "a%2Fb",
    "a" * 10_000,
    "\ufeffa",
    " a",
]


@pytest.mark.parametrize("id_", IDS, ids=map(ascii, IDS))
@pytest.mark.parametrize("name", ["author_id", "tweet_id"])
def test_an_id_of_other_characters_is_refused(unchanged: Target, name: str, id_: str) -> None:
    assert fields(problem(unchanged.post(GOOD_PNG, **{name: id_}), 422, "invalid-request")) == [name]


def test_an_id_of_64_characters_is_taken(at: Target) -> None:
    assert at.client.post("/users", json={"user_id": "u" * 64}).status_code in (200, 201)
    answer = at.post(GOOD_PNG, tweet_id="-" * 64, author_id="u" * 64)
    assert answer.status_code == 201
    assert at.client.get(f"/tweets/{'-' * 64}/image").content == GOOD_PNG


PATHS = {
    "/tweets/..%2F..%2Fetc%2Fpasswd": {404},
    "/tweets/%2e%2e": {422},
    "/tweets/%2E": {422},
    "/tweets/%00": {422},
    "/tweets/a%00b/image": {422},
    "/tweets/%ff%fe": {422},
    "/tweets/%ed%a0%80": {422},
    "/tweets/%F0%9F%98%80": {422},
    "/tweets/%": {422},
    "/tweets/%zz": {422},
    "/tweets/" + "a" * 65: {422},
    "/tweets/" + "a" * 64: {404},
    "/tweets/%0d%0aX-Injected:%20yes": {422},
    "/tweets//image": {404},
    "/tweets/a/../b": {404},
    "/users/../../etc/passwd/recommendations": {404},
    "/users/u%2Frecommendations": {404, 200},
    "/static-offline-docs/..%2f..%2f..%2f..%2fetc/passwd": {404},
    "/static-offline-docs/%2e%2e/%2e%2e/main.py": {404},
    "/static-offline-docs/%00": {404},
    "/" + "a" * 50_000: {404},
    "//": {404},
    "*": {400, 404},
}


@pytest.mark.parametrize("path", PATHS, ids=[path[:40] for path in PATHS])
def test_a_path_leads_nowhere_else(unchanged: Target, path: str) -> None:
    answer = unchanged.raw(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert status(answer) in PATHS[path], answer[:500]
    assert b"root:" not in answer
    assert b"x-injected" not in answer.lower().split(b"\r\n\r\n")[0]


QUERIES = {
    "k=-1": 422, "k=0": 422, "k=101": 422, "k=" + "9" * 5_000: 422, "k=1e400": 422, "k=NaN": 422, "k=Infinity": 422,
    "k=0x10": 422, "k=%00": 422, "k=": 422, "k=1&k=999": 422, "k[]=3": 200, "scope=all": 422,
    "scope=followees%00": 422, "explain=maybe": 422, "cursor=%00": 422, "cursor=.": 422, "cursor=" + "a" * 8_001: 422,
    "cursor=%ff": 422, "cursor=%ed%a0%80.a": 422, "version=": 422, "version=..": 422, "version=a%2Fb": 422,
    "version=a%0A": 422, "version=%00": 422, "version=*": 422, "version=" + "a" * 65: 422,
    "&&&===": 200, "?%": 200, "a=" + "b&a=" * 10_000: 200,
}  # fmt: skip


@pytest.mark.parametrize("query", QUERIES, ids=[query[:30] for query in QUERIES])
def test_a_query_is_read_or_refused(unchanged: Target, query: str) -> None:
    answer = unchanged.client.get(f"/users/{unchanged.reader}/recommendations?{query}")
    assert answer.status_code == QUERIES[query], answer.text
    if answer.status_code == 422:
        slug = "invalid-cursor" if query in ("cursor=%00", "cursor=.", "cursor=%ff", "cursor=%ed%a0%80.a") else None
        problem(answer, 422, slug or "invalid-request")


REFUSED_TIMES = [
    "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2026-06-30T23:59:60Z",
    "2026-02-30T00:00:00Z",
    "2026-01-01T00:00:00+24:00",
    "2026-01-01T00:00:00",
    "2026-01-01",
    "\u0662\u0660\u0662\u0666-01-01T00:00:00Z",
    "2026-01-01T00:00:00Z" + "0" * 5_000,
    *("1700000000", "-1", "+5", "1.5", "1e400", "NaN", "Infinity", "null", "P1D", "now"),
]
TAKEN_TIMES = {
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59.999999Z": "1969-12-31T23:59:59.999999Z",
    "2026-01-01T00:00:00+14:00": "2025-12-31T10:00:00Z",
    "2026-01-01T00:00:00-23:59": "2026-01-01T23:59:00Z",
    "2026-01-01T00:00:00-00:00": "2026-01-01T00:00:00Z",
    "2026-01-01t00:00:00z": "2026-01-01T00:00:00Z",
    "2024-02-29T12:00:00.1+05:45": "2024-02-29T06:15:00.100000Z",
}


@pytest.mark.parametrize("moment", REFUSED_TIMES, ids=[ascii(moment)[:24] for moment in REFUSED_TIMES])
def test_a_time_that_is_none_is_refused(unchanged: Target, moment: str) -> None:
    answer = unchanged.post(GOOD_PNG, created_at=moment)
    assert fields(problem(answer, 422, "invalid-request")) == ["created_at"]


@pytest.mark.parametrize("moment", TAKEN_TIMES)
def test_an_odd_time_is_brought_to_utc(at: Target, moment: str) -> None:
    answer = at.post(GOOD_PNG, created_at=moment)
    assert (answer.status_code, answer.json()["status"]) == (201, "ready"), answer.text
    for body in (answer.json(), at.client.get(f"/tweets/{answer.json()['tweet_id']}").json()):
        assert body["created_at"] == TAKEN_TIMES[moment]


JSON: dict[str, tuple[bytes, int]] = {
    "deep-lists": (deep(100_000), 400),
    "deep-objects": (b'{"user_id":' * 100_000, 400),
    "nan": (b'{"user_id": NaN}', 422),
    "infinity": (b'{"user_id": -Infinity}', 422),
    "number-of-5000-digits": (b'{"user_id": ' + b"9" * 5_000 + b"}", 400),
    "number-beyond-floats": (b'{"user_id": 1e999999}', 422),
    "lone-surrogate": (rb'{"user_id": "\ud800"}', 422),
    "lone-surrogate-as-key": (rb'{"\ud800": 1, "user_id": 3}', 422),
    "no-utf-8": (b'{"user_id": "\xff"}', 400),
    "encoded-surrogate": (b'{"user_id": "\xed\xa0\x80"}', 422),
    "nul": (rb'{"user_id": "a\u0000b"}', 422),
    "raw-nul": (b'{"user_id": "a\0b"}', 422),
    "list": (b"[]", 422),
    "string": (b'"user_id"', 422),
    "null": (b"null", 422),
    "empty": (b"", 422),
    "cut": (b'{"user_id": "a', 422),
    "behind-the-end": (b'{"user_id": "a"} x', 422),
    "single-quotes": (b"{'user_id': 'a'}", 422),
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", 400),
}


@pytest.mark.parametrize("name", JSON)
def test_broken_json_is_refused(unchanged: Target, name: str) -> None:
    body, expected = JSON[name]
    answer = unchanged.client.post("/users", content=body, headers={"Content-Type": "application/json"})
    problem(answer, expected, "invalid-body" if expected == 400 else "invalid-request")


@pytest.mark.parametrize("moment", [1_700_000_000, -1, 1e300, True, [], {}, "", "1700000000", "\ud800"])
def test_a_retweet_s_time_that_is_none_is_refused(unchanged: Target, moment: Any) -> None:
    (tweet_id, *_), *_ = unchanged.state()[0]
    body = json.dumps({"created_at": moment}).encode()
    url, headers = f"/users/{unchanged.reader}/retweets/{tweet_id}", {"Content-Type": "application/json"}
    answer = unchanged.client.put(url, content=body, headers=headers)
    assert fields(problem(answer, 422, "invalid-request")) == ["created_at"]


@pytest.mark.parametrize("body", [b"null", b" null\n"])
def test_null_is_no_body(unchanged: Target, body: bytes) -> None:
    (tweet_id, *_), *_ = unchanged.state()[0]
    url, headers = f"/users/{unchanged.reader}/retweets/{tweet_id}", {"Content-Type": "application/json"}
    assert fields(problem(unchanged.client.put(url, content=body, headers=headers), 422, "invalid-request")) == ["body"]


ROWS: dict[str, Any] = {
    "surrogate-as-key": '[{"author_id": "AUTHOR", "image": "i", "\\ud800": 1}]',
    "surrogate-as-image": '[{"author_id": "AUTHOR", "image": "\\ud800"}]',
    "surrogate-as-id": '[{"author_id": "AUTHOR", "image": "i", "tweet_id": "\\udfff"}]',
    "nan": '[{"author_id": "AUTHOR", "image": "i", "created_at": NaN}]',
    "deep": '[{"author_id": "AUTHOR", "image": ' + "[" * 900 + "]" * 900 + "}]",
    "key-of-100000": '[{"author_id": "AUTHOR", "image": "i", "' + "k" * 100_000 + '": 1}]',
    "number-as-time": '[{"author_id": "AUTHOR", "image": "i", "created_at": 1700000000}]',
    "time-in-year-0": '[{"author_id": "AUTHOR", "image": "i", "created_at": "0000-01-01T00:00:00Z"}]',
    "path-as-image": '[{"author_id": "AUTHOR", "image": "../../etc/passwd"}]',
    "number": "[1e999]",
    "list": "[[]]",
}


@pytest.mark.parametrize("name", ROWS)
def test_a_broken_row_of_a_batch_is_refused_alone(at: Target, name: str) -> None:
    rows = ROWS[name].replace("AUTHOR", at.author)[:-1] + f', {{"author_id": "{at.author}", "image": "i"}}]'
    before = len(at.state()[0])
    answer = at.client.post("/tweets:batch", data={"tweets": rows}, files={"images": ("i", GOOD_PNG)})
    assert answer.status_code == 200, answer.text
    assert [item["status"] for item in answer.json()["items"]] == [422, 201]
    assert len(at.state()[0]) == before + 1
