"""A TCP proxy between a service and one of its stores, which can be cut, stalled, slowed, or led to another server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CHUNK_BYTES = 65_536


@dataclass
class Proxy:
    """`upstream` is a host and a port, or the path of a unix socket."""

    upstream: tuple[str, int] | str
    port: int = 0
    delay_seconds: float = 0.0
    """Before each chunk is passed on, either way."""
    refusing: bool = False
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _connections: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self) -> None:
        """Reset all connections, and take none until `heal`."""
        self.refusing = True
        self.reset()

    def reset(self) -> None:
        """Reset all connections; new ones are taken."""
        for writer in list(self._writers):
            writer.transport.abort()

    def stall(self) -> None:
        """Take what comes, and pass nothing on until `heal`."""
        self._open.clear()

    def lead_to(self, upstream: tuple[str, int] | str) -> None:
        """Another server, as after a failover: connections are reset."""
        self.upstream = upstream
        self.reset()

    def heal(self) -> None:
        """Pass everything on at once again."""
        self.refusing, self.delay_seconds = False, 0.0
        self._open.set()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def end(self) -> None:
        """All connections."""
        self.heal()
        self.cut()
        await asyncio.gather(*self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if not self.refusing:
                with suppress(OSError):
                    await self._join(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self.upstream, str):
            there, back = await asyncio.open_unix_connection(self.upstream)
        else:
            there, back = await asyncio.open_connection(*self.upstream)
        self._writers.add(back)
        try:
            pumps = [asyncio.create_task(self._pump(*way)) for way in ((reader, back), (there, writer))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            self._writers.discard(back)
            back.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._open.wait()
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def proxy_to(upstream: tuple[str, int] | str) -> AsyncIterator[Proxy]:
    """A proxy at a free port of this machine."""
    proxy = Proxy(upstream)
    proxy.heal()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()


def place_of(url: str, default_port: int) -> tuple[str, int] | str:
    """Where a URL leads: a host and a port, or the path of a unix socket."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else (parts.hostname or "127.0.0.1", parts.port or default_port)
