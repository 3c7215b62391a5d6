"""Redis that lost its contents: written anew from SQL and the exported models, while requests are answered.

Redis names an active version if and only if it has all else (contract/vectors.py). Where it names none though one was
activated, one process of the service writes: the vectors of that version first, then whom users follow and what is on
their timelines, the other kept versions, the pointers last. Until then answers come from what processes hold in memory
and from what is written already, and say that they are degraded.

On a cluster the parts of a server that was started again or took over are written anew (contract/keyspace.py): nobody
knows whether it has what was written last.
"""

import asyncio
import logging
import time
from dataclasses import dataclass

from contract import artifact
from contract.errors import ContractError
from contract.keyspace import Keyspace, RedisStore, agree_on_parts
from contract.marks import restoring
from contract.rebuild import Only, forget_the_deleted, rebuild_graph, write_vectors
from contract.transactions import changing
from contract.versions import activated_last, hold_versions, kept_versions, known_versions, point_anew
from service.cursor import cursor_key
from service.ingest import Ingest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restorer:
    """What it writes from and to."""

    redis: RedisStore
    namespace: str
    cursors_key: bytes
    parts: Ingest

    async def restore_if_lost(self) -> None:
        """Nothing where Redis has all, where another process is at it, or where this one has not the version loaded.

        Raises StoreUnavailable where Redis lost what was written, too.
        """
        model = self.parts.models.current
        if model is None or await self.parts.vectors.active_version() is not None:
            return
        await agree_on_parts(self.redis, self.namespace)
        await cursor_key(self.redis, self.namespace, self.cursors_key)
        known = await known_versions(self.parts.database.engine)
        if activated_last(known) != model.version:
            return
        async with restoring(self.redis, self.namespace) as mark:
            if mark is None or await self.parts.vectors.active_version() is not None:
                return
            started = time.monotonic()
            only = await Keyspace(self.redis, self.namespace).lacking()
            what = "its contents" if only is None else "what was written last to some parts"
            log.warning("Redis lost %s: writing it anew, version %s first", what, model.version)
            await write_vectors(self.parts.database.engine, self.parts.vectors, model.artifact, only=only)
            await rebuild_graph(self.parts.database.engine, self.parts.graph, only=only)
            written = {model.version}
            for version in sorted(kept_versions(known) - written):
                if await self._write_other_version(version, only):
                    written.add(version)
            await forget_the_deleted(self.parts.database.engine, self.parts.graph, self.parts.vectors, only)
            async with changing(self.parts.database.engine) as connection:
                await hold_versions(connection)
                vectors, recommended = self.parts.vectors, self.parts.recommended
                if await point_anew(connection, vectors, recommended, written, mark) is None:
                    return  # another version serves since, whose vectors are not there: this process follows it first
        log.warning("Redis has its contents again, after %.1f s", time.monotonic() - started)
        self.parts.metrics.redis_written.set_to_current_time()
        self.parts.behind.set()
        self.parts.fold_ins.start_anew()

    async def _write_other_version(self, version: str, only: Only | None) -> bool:
        """Whether it loads."""
        try:
            folder = await asyncio.to_thread(self.parts.models.folders.need, version)
            exported = await asyncio.to_thread(artifact.load, folder)
        except ContractError as error:
            log.error("version %s has no vectors now: it does not load (%s)", version, error)
            return False
        await write_vectors(self.parts.database.engine, self.parts.vectors, exported, only=only)
        return True
