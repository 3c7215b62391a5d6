"""The next page of a ranking: an opaque, signed string that holds all a server must know, so that none keeps it.

It holds hashes of what was shown already: whatever is retweeted, hidden, followed or posted between two pages, nothing
is shown twice, and the next page is the best of what is left. Tweets that came after the first page wait for a new one.

Key (ns is the namespace):
    {ns}:cursor-key    what all processes sign with; one key
"""

import base64
import hashlib
import hmac
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contract.keyspace import Keyspace, RedisStore
from service.errors import CursorExpired, InvalidCursor
from service.schemas import Scope, Source

MOST_SHOWN = 400
"""Tweets of one ranking, over all its pages: its cursor stays below 5 KB then, and fits into a URL."""

_HASH_BYTES = 8
_SIGNATURE_BYTES = 32
_HEAD = struct.Struct("<q")


@dataclass(frozen=True)
class Page:
    """Where a ranking goes on: `at_ms` is when its first page was asked for; `source` is None on the first page."""

    user_id: str
    version: str
    scope: Scope
    source: Source | None
    at_ms: int
    shown: frozenset[bytes]

    @property
    def shown_H(self) -> npt.NDArray[np.uint64]:
        """The same, sorted."""
        return np.sort(np.frombuffer(b"".join(self.shown), dtype="<u8"))


def tweet_hash(tweet_id: str) -> bytes:
    """8 bytes: among 400 tweets two are the same once in 10^14 rankings."""
    return hashlib.blake2b(tweet_id.encode(), digest_size=_HASH_BYTES).digest()


class Cursors:
    """Signs and reads cursors."""

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.sha256(b"cursor" + key).digest()

    def write(self, page: Page) -> str:
        """The cursor of a page."""
        names = "\n".join((page.user_id, page.version, page.scope, page.source or "")).encode()
        data = _HEAD.pack(page.at_ms) + bytes([len(names)]) + names + b"".join(sorted(page.shown))
        return _encoded(data + self._signature(data))

    def read(self, cursor: str, user_id: str, scope: Scope, version: str) -> Page:
        """The page that a cursor names.

        Raises InvalidCursor where it is not one of ours or is of another request; CursorExpired where another version
        ranks this one.
        """
        page = self._page(cursor)
        if (page.user_id, page.scope) != (user_id, scope):
            raise InvalidCursor(f"cursor: it is of user_id {page.user_id} and scope {page.scope}: ask with these")
        if page.version != version:
            raise CursorExpired(
                f"cursor: it is of version {page.version}, and version {version} ranks this request: ask without a "
                f"cursor, or with version={page.version} while GET /models says that it is kept"
            )
        return page

    def _page(self, cursor: str) -> Page:
        data, signature = _decoded(cursor)
        if not hmac.compare_digest(signature, self._signature(data)):
            raise InvalidCursor("cursor: it is none of ours: send next_cursor as it came, or leave it out")
        (at_ms,) = _HEAD.unpack_from(data)
        start = _HEAD.size + 1
        names, hashes = data[start : start + data[_HEAD.size]].decode(), data[start + data[_HEAD.size] :]
        user_id, version, scope, source = names.split("\n")
        shown = frozenset(hashes[n : n + _HASH_BYTES] for n in range(0, len(hashes), _HASH_BYTES))
        return Page(user_id, version, scope, source or None, at_ms, shown)  # type: ignore[arg-type]  # signed by us

    def _signature(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self._key, digest_size=_SIGNATURE_BYTES).digest()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(cursor: str) -> tuple[bytes, bytes]:
    """What a cursor holds, and its signature; nothing where it is not as `_encoded` writes."""
    try:
        whole = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except ValueError:
        return b"", b""
    return (whole[:-_SIGNATURE_BYTES], whole[-_SIGNATURE_BYTES:]) if _encoded(whole) == cursor else (b"", b"")


async def cursor_key(redis: RedisStore, namespace: str, fresh: bytes) -> bytes:
    """The key that all processes sign with: `fresh` (32 random bytes) where there was none."""
    home = Keyspace(redis, namespace).home
    name = home.key("cursor-key")
    await home.redis.set(name, fresh, nx=True)
    key: bytes | None = await home.redis.get(name)  # type: ignore[assignment]  # not decoded
    return key or fresh
