"""ASGI middleware around everything: request ids, one access line per request, metrics, traces, unexpected errors.

In: any HTTP request. Out: the same request with an `x-request-id` header on its answer. The line has the method, path,
status and time, and what routes noted in the `Exchange`. It never has a text; texts are in a line of their own, where
the settings ask for it. An exception that nothing else answered is logged with its traceback and answered with the
request id.
"""

from __future__ import annotations

import asyncio
import logging

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farthing.core.errors import ClosedError
from farthing.core.settings import TelemetrySettings
from farthing.server.http.errors import fault_of, openai_answer, unexpected_fault
from farthing.server.http.request_record import HUNG_UP, Exchange
from farthing.server.observe.logs import AccessLine, LoggedTexts
from farthing.server.observe.metrics import Metrics
from farthing.server.observe.tracing import Tracing

logger = logging.getLogger(__name__)

IGNORED = "x-farthing-ignored"


class Access:
    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing, telemetry: TelemetrySettings) -> None:
        self.app = app
        self.metrics, self.tracing, self.telemetry = metrics, tracing, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange.begin(scope)

        async def receive_and_note() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                exchange.note_body()
            return message

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = exchange.request_id
                if exchange.ignored:
                    headers[IGNORED] = exchange.ignored
            await send(message)

        with self.metrics.in_flight.track_inprogress():
            await self._answer(exchange, receive_and_note, send_with_id)

    async def _answer(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        scope = exchange.scope
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:
            pass  # nobody is left to answer
        except asyncio.CancelledError:
            # The server stops, and its time to finish is over; this task ends here in any case.
            if exchange.status == HUNG_UP:
                stopped = ClosedError("The server was shut down before this request was finished.")
                await openai_answer(fault_of(stopped))(scope, receive, send)
        except Exception:  # this is the last place where an answer is possible
            logger.exception("Request %s failed unexpectedly", exchange.request_id)
            if exchange.status != HUNG_UP:
                raise
            await openai_answer(unexpected_fault(exchange.request_id))(scope, receive, send)
        finally:
            self._tell(exchange)
            exchange.leave()

    def _tell(self, exchange: Exchange) -> None:
        exchange.finish()
        self.metrics.count(exchange)
        self.tracing.record(exchange)
        if self.telemetry.access_log:
            logger.info(AccessLine(exchange))
        if self.telemetry.log_texts and exchange.texts:
            logger.info(LoggedTexts(exchange))
