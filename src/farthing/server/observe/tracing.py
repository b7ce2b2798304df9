"""Traces of requests, sent to an OpenTelemetry collector: one span per request, with its stages as children; or none.

In: finished requests. Out: spans, which are made after the answer was sent, and handed to a thread that sends them in
batches. A collector that is slow or gone costs spans, never requests. A client's W3C traceparent is taken over, with
its decision to sample or not. OpenTelemetry itself reads further settings from its own OTEL_* variables (headers,
certificates, sampler, batches).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from starlette.datastructures import Headers

from farthing.core.errors import MissingExtraError
from farthing.core.settings import TelemetrySettings
from farthing.core.version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from farthing.server.http.request_record import Exchange

# The time to send one batch of spans, and the time at the end to send all that are left.
EXPORT_TIMEOUT_S = 5


class Tracing(Protocol):
    def record(self, exchange: Exchange) -> None:
        """Make the spans of a finished request, and note its trace id."""
        ...

    def close(self) -> None:
        """Send the spans that are left, for a bounded time."""
        ...


class NoTracing:
    """Makes no spans."""

    def record(self, exchange: Exchange) -> None:
        pass

    def close(self) -> None:
        pass


class OtelTracing:
    """Makes spans for `provider`, and shuts it down in the end."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._api, self._propagator = trace, TraceContextTextMapPropagator()
        self._provider, self._tracer = provider, provider.get_tracer("farthing", __version__)

    def record(self, exchange: Exchange) -> None:
        method, route = exchange.method, exchange.route
        span = self._tracer.start_span(
            f"{method} {route}",
            context=self._propagator.extract(Headers(scope=exchange.scope)),
            kind=self._api.SpanKind.SERVER,
            attributes={
                "http.request.method": method,
                "http.route": route,
                "url.path": exchange.path,
                "http.response.status_code": exchange.status,
                "farthing.request_id": exchange.request_id,
                **{f"farthing.{name}": value for name, value in exchange.notes.items()},
            },
            start_time=exchange.started_ns,
        )
        exchange.note(trace_id=self._api.format_trace_id(span.get_span_context().trace_id))
        if exchange.status >= 500:
            span.set_status(self._api.StatusCode.ERROR)
        if span.is_recording():
            inside = self._api.set_span_in_context(span)
            for stage in exchange.stages:
                child = self._tracer.start_span(stage.name, inside, start_time=exchange.wall_ns(stage.started_s))
                child.end(exchange.wall_ns(stage.ended_s))
        span.end(exchange.wall_ns(exchange.ended_s))

    def close(self) -> None:
        # The library waits for up to 30 s for a collector that does not answer.
        closing = threading.Thread(target=self._provider.shutdown, name="farthing-tracing", daemon=True)
        closing.start()
        closing.join(EXPORT_TIMEOUT_S)


def open_tracing(settings: TelemetrySettings) -> Tracing:
    """Return the tracing that the settings ask for. Raises `MissingExtraError` where OpenTelemetry is not installed."""
    if settings.otlp_endpoint is None:
        return NoTracing()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise MissingExtraError("--otlp-endpoint", "otel") from error
    resource = Resource.create({"service.name": "farthing", "service.version": __version__})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    url = f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url, timeout=EXPORT_TIMEOUT_S)))
    return OtelTracing(provider)
