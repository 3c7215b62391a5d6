"""Hostile HTTP over a real socket: a clear 4xx or a right answer, never a 5xx, and nothing is left behind."""

import socket
import time

import pytest

from tests.hostile_pictures import GOOD_PNG
from tests.integration.hostile import END, IMAGE, SECONDS, Target, author_part, part, received, status
from tests.integration.running import problem

GIBIBYTE = 2**30

POST = b"POST /tweets HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
HTTP: dict[str, tuple[bytes, set[int]]] = {
    "no-http": (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(300), {400}),
    "unknown-method": (b"BREW /tweets HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", {400, 405}),
    "header-of-100-kb": (
        b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        {200, 400, 431},
    ),
    "nul-in-a-header": (b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\0b\r\n\r\n", {400}),
    "no-ascii-in-the-path": (b"GET /tweets/\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", {400, 404, 422}),
    "two-lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", {400}),
    "length-and-chunks": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400, 422}),
    "negative-length": (POST + b"Content-Length: -1\r\n\r\n", {400}),
    "length-of-words": (POST + b"Content-Length: many\r\n\r\n", {400}),
    "length-beyond-64-bits": (POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", {400, 413}),
    "chunk-of-no-size": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", {400}),
    "a-gibibyte-announced": (POST + b"Content-Length: %d\r\n\r\n" % GIBIBYTE, {413}),
    "odd-request-id": (b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Request-ID: \xff\xfe<x>\r\n\r\n", {200}),
    "odd-key": (b"GET /models HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer \xff\xfe\r\n\r\n", {200}),
    "odd-idempotency-key": (POST + b"Idempotency-Key: \xff\r\nContent-Length: 0\r\n\r\n", {400, 422}),
}


@pytest.mark.parametrize("name", HTTP)
def test_http_that_is_none_is_refused(unchanged: Target, name: str) -> None:
    request, expected = HTTP[name]
    answer = unchanged.raw(request)
    assert status(answer) in expected, answer[:500]
    assert status(answer) < 500


@pytest.mark.parametrize("host", [b"127.0.0.1", b"refused.example"])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_gibibyte_is_not_read(unchanged: Target, chunked: bool, host: bytes) -> None:
    """Streamed until the server ends it: it does long before a gibibyte, and says why where it can."""
    block, sent = part("image", bytes(1_000_000), filename="i"), 0
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % GIBIBYTE
    with unchanged.connected() as connection:
        connection.sendall(POST.replace(b"127.0.0.1", host) + length + b"\r\n\r\n")
        try:
            while sent < GIBIBYTE:
                connection.sendall(b"%x\r\n%s\r\n" % (len(block), block) if chunked else block)
                sent += len(block)
        except (ConnectionError, TimeoutError):
            pass
        answer = received(connection)
    assert sent < 100_000_000
    refused = 403 if host == b"refused.example" else 413
    assert status(answer) in (0, refused)  # 0: the connection was reset before the answer was read


def test_a_body_that_breaks_off_leaves_nothing(unchanged: Target) -> None:
    body = author_part(unchanged) + IMAGE
    for kept in range(0, len(body), 97):
        with unchanged.connected() as connection:
            connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % (len(body) + len(END)) + body[:kept])
            if kept % 2:  # reset instead of closed
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def test_slow_bodies_hold_nobody_up(at: Target) -> None:
    """As many as one caller has places for: 96 of 128."""
    body = author_part(at) + IMAGE + END
    slow = [socket.create_connection((at.client.base_url.host, at.client.base_url.port or 0)) for _ in range(90)]
    for connection in slow:
        connection.settimeout(SECONDS)
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body[:20])
    started = time.monotonic()
    assert at.post(GOOD_PNG).status_code == 201
    assert time.monotonic() - started < 5
    for connection in slow[:50]:
        connection.close()
    for at_ in range(20, len(body), 100):
        slow[50].sendall(body[at_ : at_ + 100])
        time.sleep(0.01)
    assert status(received(slow[50])) == 201
    for connection in slow[50:]:
        connection.close()


@pytest.mark.parametrize("path", ["/health/live", "/models", "/tweets/none", "/docs", "/openapi.json"])
def test_head_is_get_without_the_body(unchanged: Target, path: str) -> None:
    get, head = unchanged.client.get(path), unchanged.client.head(path)
    assert head.status_code == get.status_code
    assert head.headers["content-length"] == get.headers["content-length"]
    raw = unchanged.raw(f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    assert raw.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/tweets/none", "HEAD, GET, DELETE"),
        ("/tweets", "HEAD, GET, POST"),
        ("/users/a/hidden/b", "PUT, DELETE"),
        ("/models:rollback", "POST"),
        ("/health/live", "HEAD, GET"),
    ],
)
def test_allow_names_every_method(unchanged: Target, path: str, allowed: str) -> None:
    answer = unchanged.client.patch(path)
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == allowed
