"""One HTTP request and what became of it: what the log, the metrics and the traces are made from.

In: the request's scope when its head is there, and what routes note on the way. Out: a record that `farthing.server
.access` finishes and hands to each of them.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.datastructures import Headers

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Scope

    from farthing.serving.request import Timings

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
HUNG_UP = 499  # no answer was sent; the status is nginx's, for logs, metrics and traces only
MAX_LOGGED_PATH = 200


class Stage(NamedTuple):
    """A part of a request's time; `started_s` and `ended_s` are of `time.perf_counter`."""

    name: str
    started_s: float
    ended_s: float


@dataclass(slots=True)
class Exchange:
    """
    Attributes:
        started_s: when the head was there, by `time.perf_counter`; `started_ns` the same by the wall clock.
        status: of the answer, once it has begun.
        ended_s: when the answer was sent, 0 before.
        num_texts: that were answered; `num_tokens` theirs.
        notes: what is worth a word in the access line and the trace, by name.
        stages: where the time went.
        texts: what was asked about, for the log of texts alone.
        ignored: names of fields of the body that were not looked at, for the answer to tell.
        worked_s: when what the answer says was there, and writing it began.
    """

    scope: Scope
    request_id: str
    started_s: float = field(default_factory=time.perf_counter)
    started_ns: int = field(default_factory=time.time_ns)
    status: int = HUNG_UP
    ended_s: float = 0.0
    num_texts: int = 0
    num_tokens: int = 0
    notes: dict[str, str | int | float] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    texts: Sequence[Any] = ()
    ignored: str = ""
    worked_s: float | None = None

    @classmethod
    def begin(cls, scope: Scope) -> Exchange:
        """With the client's own request id, if it sent a usable one. Leaves itself in the scope's state."""
        asked_id = Headers(scope=scope).get("x-request-id", "")
        request_id = asked_id if REQUEST_ID.fullmatch(asked_id) else uuid.uuid4().hex
        exchange = cls(scope, request_id)
        state = scope.setdefault("state", {})
        state["request_id"], state["exchange"] = request_id, exchange
        return exchange

    def leave(self) -> None:
        """The request is over. Without it the scope and this would hold each other, until the collector looked for
        what hundreds of thousands of requests had left, which held up everything for 0.4 s."""
        del self.scope["state"]["exchange"]

    def note(self, **notes: str | int | float) -> None:
        self.notes.update(notes)

    def note_body(self) -> None:
        """The last part of the body is there."""
        self.stages.append(Stage("read", self.started_s, time.perf_counter()))

    def note_work(self, num_texts: int, num_tokens: int, timings: Timings) -> None:
        """What the answer says is there; its stages are taken to have followed each other until now."""
        self.num_texts, self.num_tokens = num_texts, num_tokens
        self.note(texts=num_texts, tokens=num_tokens)
        self.worked_s = ended_s = time.perf_counter()
        stages = {"compute": timings.compute_s, "queue": timings.queue_s, "tokenise": timings.tokenize_s}
        for name, seconds in stages.items():
            if seconds:  # of a text that was not computed there are none
                self.stages.append(Stage(name, ended_s - seconds, ended_s))
                ended_s -= seconds

    def finish(self) -> None:
        self.ended_s = time.perf_counter()
        if self.worked_s is not None:
            self.stages.append(Stage("write", self.worked_s, self.ended_s))

    @property
    def seconds(self) -> float:
        """From the head to the end of the answer."""
        return self.ended_s - self.started_s

    def wall_ns(self, moment_s: float) -> int:
        """A moment of `time.perf_counter` by the wall clock, as nanoseconds since 1970."""
        return self.started_ns + int((moment_s - self.started_s) * 1e9)

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def route(self) -> str:
        """The application's route, never a path that a client made up."""
        return getattr(self.scope.get("route"), "path", "unknown")

    @property
    def path(self) -> str:
        """Still percent-encoded, so that it cannot break a line, and without the query."""
        return str(self.scope["raw_path"].decode("ascii", "replace")[:MAX_LOGGED_PATH])


def exchange_of(request: Request) -> Exchange:
    """What `farthing.server.observe.middleware` began for this request."""
    exchange = request.scope["state"]["exchange"]
    assert isinstance(exchange, Exchange)
    return exchange
