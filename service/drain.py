"""An end that nobody notices: told by SIGTERM, the service is not ready any more, and serves for a while still."""

import signal
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI


class DrainingServer(uvicorn.Server):
    """What asks /health/ready sends new requests elsewhere meanwhile; Ctrl-C, or a second signal, ends it at once.

    In either case what is under way is answered first.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, seconds: float) -> None:
        super().__init__(config)
        self._app, self._seconds = app, seconds
        self._end_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Of a signal."""
        if sig == signal.SIGTERM and self._end_at is None and self.started:
            self._captured_signals.append(sig)  # raised again in the end, as uvicorn does
            self._app.state.ending = True
            self._end_at = time.monotonic() + self._seconds
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Whether to end, ten times a second."""
        if self._end_at is not None and time.monotonic() >= self._end_at:
            self.should_exit = True
        return await super().on_tick(counter)
