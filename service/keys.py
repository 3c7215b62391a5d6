"""Who may do what: bearer keys with scopes, kept as hashes.

A key reads `itr_ID_SECRET`. SQL has the SHA-256 of the secret, 256 random bits, so that no slow hash is needed.
Every process reads the keys anew twice a second, and where it meets one that it does not know: a key is good from the
moment that it was made.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.errors import ContractError
from contract.ids import MAX_ID_LENGTH
from contract.tables import ApiKey
from service.errors import Forbidden, StoreDown, Unauthorized
from service.room import Rounds
from service.scopes import SCOPES, KeyScope
from service.settings import Settings

_PREFIX = "itr"
_LEAST_SECONDS = 0.2
"""So that a flood of unknown keys does not become a flood of queries."""
_READ_SECONDS = 5.0
"""For the keys to be read; of a connection that hangs, the driver takes 10 s more to let go."""


class KeyRejected(ContractError):
    """A key that cannot be made or is not there."""


@dataclass(frozen=True)
class StoredKey:
    """A key as SQL has it."""

    key_id: str
    name: str
    scopes: frozenset[str]
    secret_sha256: str
    created_at: datetime
    revoked: bool
    per_minute: int | None = None
    """How often it may ask; None: as often as it likes."""


class Keys:
    """Checks the header `Authorization` against the keys in SQL and the one of the environment, which may do all."""

    def __init__(self, engine: AsyncEngine, environment_key: str | None, open_door: bool) -> None:
        """`open_door`: whether anybody may do anything as long as no key was ever made."""
        self._engine = engine
        self._environment_key = environment_key
        self._open_door = open_door
        self._keys: dict[str, StoredKey] = {}
        self._rounds = Rounds(self.read, _LEAST_SECONDS)

    @property
    def any(self) -> bool:
        """Whether there is a key, or was one: revoking the last one opens no door."""
        return self._environment_key is not None or bool(self._keys)

    @property
    def open_door(self) -> bool:
        """Whether anybody on this machine may do anything."""
        return self._open_door and not self.any

    async def read(self) -> None:
        """Read the keys from SQL. Raises StoreDown where that takes more than 5 s, SQLAlchemyError where it fails."""
        try:
            async with asyncio.timeout(_READ_SECONDS):
                keys = await list_keys(self._engine)
        except TimeoutError:
            raise StoreDown(f"the database did not tell the keys within {_READ_SECONDS:g} s: try again") from None
        self._keys = {key.key_id: key for key in keys}

    async def aclose(self) -> None:
        """End looks that nobody waits for any more."""
        await self._rounds.aclose()

    async def check(self, bearer: str | None, scope: KeyScope) -> StoredKey | None:
        """The key, where it is one of SQL's.

        Raises Unauthorized where no key that we know is given, Forbidden where it has not the scope.
        """
        if self.open_door:
            return None
        if bearer is None:
            raise Unauthorized("this needs the header `Authorization: Bearer KEY` with a key of the service")
        if self._environment_key is not None and _equal(bearer, self._environment_key):
            return None
        key = await self._known(bearer)
        if key is None:
            raise Unauthorized("the key of the header `Authorization: Bearer KEY` is none of the service's, or revoked")
        if scope not in key.scopes:
            raise Forbidden(f"key {key.key_id} has not the scope {scope}: it has {', '.join(sorted(key.scopes))}")
        return key

    async def _known(self, bearer: str) -> StoredKey | None:
        key_id, secret = _parts(bearer)
        if key_id not in self._keys:
            await self._rounds.next()  # one that begins now: the key may be new
        key = self._keys.get(key_id)
        if key is None or key.revoked:
            return None
        return key if hmac.compare_digest(_hash(secret), key.secret_sha256) else None


async def open_keys(engine: AsyncEngine, settings: Settings) -> Keys:
    """The keys at the start.

    Raises KeyRejected where others than this machine can ask and there is no key, and what reading the keys raises.
    """
    environment_key = settings.api_key.get_secret_value() if settings.api_key else None
    keys = Keys(engine, environment_key, open_door=settings.is_loopback)
    await keys.read()
    if not keys.any and not settings.is_loopback:
        raise KeyRejected(
            f"HOST={settings.host} is reachable by others: make a key by `python -m service keys create NAME`, "
            "set API_KEY, or HOST=127.0.0.1"
        )
    return keys


def check_new_key(name: str, scopes: Sequence[str], per_minute: int | None) -> None:
    """Raises KeyRejected for a scope that is none of SCOPES, a bad name, or a rate below 1."""
    if per_minute is not None and per_minute < 1:
        raise KeyRejected("per-minute: give at least 1, or leave it out for no limit")
    if not name.isprintable() or not 0 < len(name) <= MAX_ID_LENGTH:
        raise KeyRejected(f"name: give 1 to {MAX_ID_LENGTH} printable characters")
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise KeyRejected(f"scopes {', '.join(unknown) or 'none'}: give some of {', '.join(SCOPES)}")


async def create_key(engine: AsyncEngine, name: str, scopes: Sequence[str], per_minute: int | None = None) -> str:
    """A new key, which is shown this once. Raises KeyRejected as check_new_key does."""
    check_new_key(name, scopes, per_minute)
    key_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    row = {
        "key_id": key_id,
        "name": name,
        "scopes": " ".join(scopes),
        "secret_sha256": _hash(secret),
        "per_minute": per_minute,
    }
    async with engine.begin() as connection:
        await connection.execute(insert(ApiKey).values(**row, created_at=datetime.now(UTC)))
    return f"{_PREFIX}_{key_id}_{secret}"


async def list_keys(engine: AsyncEngine) -> list[StoredKey]:
    """All keys that were ever made, the oldest first."""
    async with engine.connect() as connection:
        rows = (await connection.execute(select(ApiKey).order_by(ApiKey.created_at))).all()
    return [
        StoredKey(
            key_id=row.key_id,
            name=row.name,
            scopes=frozenset(row.scopes.split()),
            secret_sha256=row.secret_sha256,
            created_at=row.created_at,
            revoked=row.revoked_at is not None,
            per_minute=row.per_minute,
        )
        for row in rows
    ]


async def revoke_key(engine: AsyncEngine, key_id: str) -> None:
    """End a key: within seconds no process takes it. Raises KeyRejected where there is none."""
    valid = ApiKey.key_id == key_id, ApiKey.revoked_at.is_(None)
    async with engine.begin() as connection:
        result = await connection.execute(update(ApiKey).where(*valid).values(revoked_at=datetime.now(UTC)))
    if not result.rowcount:
        raise KeyRejected(f"key {key_id} is not known, or revoked already: `python -m service keys list` shows all")


def _parts(bearer: str) -> tuple[str, str]:
    prefix, _, rest = bearer.partition("_")
    key_id, _, secret = rest.partition("_")
    return (key_id, secret) if prefix == _PREFIX else ("", "")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(_hash(given), _hash(expected))
