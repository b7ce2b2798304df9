"""The shutdown of a server: accepted requests are answered, and no new ones are taken.

In: a signal. Out: for `delay_s` `/health` says 503 while requests are still taken, so that load balancers turn away
before connections are refused. Then the port is closed, requests on connections that are still open get 503, and those
accepted before are finished, for at most uvicorn's `timeout_graceful_shutdown`. A second signal ends the process at
once, with the status that shells give to a process killed by that signal.

Python waits for its threads at the end, and a thread in the middle of a library's call cannot be told to stop. So the
first signal also sets the time at which the process ends, whatever still runs. A thread of our own ends it; should
something hold the interpreter's lock even then, the system's alarm clock does.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from types import FrameType
from typing import Literal

import orjson
import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farthing.core.errors import ClosedError
from farthing.server.http.errors import fault_of, openai_answer

logger = logging.getLogger(__name__)

STOPPING = "The server is shutting down."
ENDED_IN_WORK = 0  # the exit status: the server was asked to stop, and did
CLOSING_S = 8.0  # for the rest when the time for requests is over: answering them, closing models
ALARM_S = 2.0  # after the time at which our own thread ends the process


def end_after(seconds: float) -> None:
    """End the process after `seconds` if it still runs. Must be called in the main thread."""

    def end() -> None:
        time.sleep(seconds)
        logger.error("Something still runs %.0f s after the signal to stop; the process ends now.", seconds)
        logging.shutdown()
        os._exit(ENDED_IN_WORK)

    threading.Thread(target=end, name="farthing-end", daemon=True).start()
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process
        signal.setitimer(signal.ITIMER_REAL, seconds + ALARM_S)


class Gate:
    """ASGI middleware around the whole application.

    Attributes:
        state: "open"; "leaving", when requests are still taken but `/health` says 503; or "closed", when no new
            requests are taken.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.state: Literal["open", "leaving", "closed"] = "open"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.state == "open" or scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        if scope["path"] == "/health":
            content = orjson.dumps({"status": "closed", "reason": STOPPING})
            await Response(content, 503, media_type="application/json")(scope, receive, send_and_close)
        elif self.state == "closed":
            await openai_answer(fault_of(ClosedError(STOPPING)))(scope, receive, send_and_close)
        else:
            await self.app(scope, receive, send_and_close)


class DrainingServer(uvicorn.Server):
    """uvicorn behind a `Gate`, which is put around the configuration's application when the server is made.

    With `ends_process`, the process, which then exists for this server alone, ends in time after a signal, whatever
    still runs in it.
    """

    def __init__(self, config: uvicorn.Config, delay_s: float = 0.0, *, ends_process: bool = False) -> None:
        super().__init__(config)
        self._gate = config.app = Gate(config.app)  # type: ignore[arg-type]
        self._delay_s, self._ends_process = delay_s, ends_process
        self._stop_s = float("inf")  # the time of `time.monotonic` at which to stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's
        """Begin the shutdown at the first signal. uvicorn would raise it again afterwards, which must not kill us."""
        if self._gate.state != "open":
            os._exit(128 + sig)
        logger.info("Stopping: no new work is taken, and what was accepted is finished. A second signal stops at once.")
        self._gate.state = "leaving" if self._delay_s else "closed"
        self._stop_s = time.monotonic() + self._delay_s
        if self._ends_process:
            end_after(self._delay_s + (self.config.timeout_graceful_shutdown or 0) + CLOSING_S)

    async def on_tick(self, counter: int) -> bool:
        if time.monotonic() >= self._stop_s:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._gate.state = "closed"
        await super().shutdown(sockets)
