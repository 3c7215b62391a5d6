"""How many requests are in work at a time, reads and writes apart, so that a flood of one leaves room for the other."""

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Overloaded
from service.guard import OPERATOR, READS, is_guarded
from service.metrics import Metrics
from service.problems import turn_away
from service.room import Pacer, Room, caller


class Admission:
    """ASGI middleware: answers 429 where as many are in work as may be. Health, metrics and /ops/ always answer."""

    def __init__(self, app: ASGIApp, most_reads: int, most_writes: int, pacer: Pacer, metrics: Metrics) -> None:
        self._app = app
        self._rooms = {"reads": Room(most_reads), "writes": Room(most_writes)}
        self._pacer, self._metrics = pacer, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if there is room."""
        if scope["type"] != "http" or not is_guarded(scope["path"]) or always_answers(scope["path"]):
            await self._app(scope, receive, send)
            return
        kind = "reads" if scope["method"] in READS else "writes"
        room, who = self._rooms[kind], caller.get()
        if not room.has_place(who):
            self._metrics.shed.labels(kind).inc()
            await self._pacer.pace()
            refused = Overloaded(f"as many {kind} are in work as the service takes: try again in a second")
            await turn_away(refused, scope, receive, send)
            return
        room.enter(who)
        try:
            await self._app(scope, receive, send)
        finally:
            room.leave(who)


def always_answers(path: str) -> bool:
    """Whether it tells how the service is, which is needed most where there is no room."""
    return path == "/metrics" or path.startswith(OPERATOR)
