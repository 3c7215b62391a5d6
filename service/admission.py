"""How many requests are in work at a time, reads and writes apart, so that a flood of one leaves room for the other."""

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Overloaded
from service.guard import GUARDED, READS
from service.metrics import Metrics
from service.problems import refusal_of


class Admission:
    """ASGI middleware: answers 429 at once where as many are in work as may be. Health and metrics always answer."""

    def __init__(self, app: ASGIApp, most_reads: int, most_writes: int, metrics: Metrics) -> None:
        self._app = app
        self._free = {"reads": most_reads, "writes": most_writes}
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if there is room."""
        if scope["type"] != "http" or not scope["path"].startswith(GUARDED) or scope["path"] == "/metrics":
            await self._app(scope, receive, send)
            return
        kind = "reads" if scope["method"] in READS else "writes"
        if not self._free[kind]:
            self._metrics.shed.labels(kind).inc()
            refused = Overloaded(f"as many {kind} are in work as the service takes: try again in a second")
            await refusal_of(refused).response()(scope, receive, send)
            return
        self._free[kind] -= 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._free[kind] += 1
