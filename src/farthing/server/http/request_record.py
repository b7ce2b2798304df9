"""The record of one HTTP request, from which the log, the metrics and the traces are made.

In: the request's scope when its head has arrived, and what routes note on the way. Out: a record that
`farthing.server.observe.middleware` finishes and hands to each of them.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field  # noqa: TID251 # one with slots
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Scope

    from farthing.serving.request import Timings

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
HUNG_UP = 499  # no answer was sent; nginx uses this status, here only logs, metrics and traces do
MAX_LOGGED_PATH = 200


class Stage(NamedTuple):
    """A part of a request's time; `started_s` and `ended_s` are times of `time.perf_counter`."""

    name: str
    started_s: float
    ended_s: float


@dataclass(slots=True)
class Exchange:
    """What happened to one request.

    Attributes:
        started_s: when the head had arrived, by `time.perf_counter`; `started_ns` is the same moment by the wall clock.
        status: the status of the answer, once the answer has begun.
        ended_s: when the answer was sent; 0 before.
        num_texts: how many texts were answered; `num_tokens` is the number of their tokens.
        notes: facts worth a word in the access line and the trace, by name.
        stages: where the time went.
        texts: what the request asked about, only for the log of texts.
        ignored: the names of the body's fields that were not looked at, which the answer tells.
        worked_s: when the content of the answer was there, and writing it began.
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
        """Make a record, with the client's request id if it sent a usable one, and leave it in the scope's state."""
        asked_id = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        request_id = asked_id if REQUEST_ID.fullmatch(asked_id) else f"{random.getrandbits(128):032x}"
        exchange = cls(scope, request_id)
        state = scope.setdefault("state", {})
        state["request_id"], state["exchange"] = request_id, exchange
        return exchange

    def leave(self) -> None:
        """Take the record out of the scope when the request is over.

        Otherwise the scope and the record would hold each other until the garbage collector ran. It then found what
        hundreds of thousands of requests had left, which held up everything for 0.4 s.
        """
        del self.scope["state"]["exchange"]

    def note(self, **notes: str | int | float) -> None:
        self.notes.update(notes)

    def note_body(self) -> None:
        """Note that the last part of the body has arrived."""
        self.stages.append(Stage("read", self.started_s, time.perf_counter()))

    def note_work(self, num_texts: int, num_tokens: int, timings: Timings) -> None:
        """Note that the answer's content is there. Its stages are assumed to have followed each other until now."""
        self.num_texts, self.num_tokens = num_texts, num_tokens
        self.note(texts=num_texts, tokens=num_tokens)
        self.worked_s = ended_s = time.perf_counter()
        stages = {"compute": timings.compute_s, "queue": timings.queue_s, "tokenise": timings.tokenize_s}
        for name, seconds in stages.items():
            if seconds:  # a text that was not computed has none
                self.stages.append(Stage(name, ended_s - seconds, ended_s))
                ended_s -= seconds

    def finish(self) -> None:
        self.ended_s = time.perf_counter()
        if self.worked_s is not None:
            self.stages.append(Stage("write", self.worked_s, self.ended_s))

    @property
    def seconds(self) -> float:
        """The time from the head to the end of the answer."""
        return self.ended_s - self.started_s

    def wall_ns(self, moment_s: float) -> int:
        """Return a moment of `time.perf_counter` by the wall clock, as nanoseconds since 1970."""
        return self.started_ns + int((moment_s - self.started_s) * 1e9)

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def route(self) -> str:
        """The path of the application's route, never a path that a client made up."""
        return getattr(self.scope.get("route"), "path", "unknown")

    @property
    def path(self) -> str:
        """The path without the query, still percent-encoded, so that it cannot break a line of the log."""
        return str(self.scope["raw_path"].decode("ascii", "replace")[:MAX_LOGGED_PATH])


def exchange_of(request: Request) -> Exchange:
    """Return the record that `farthing.server.observe.middleware` began for this request."""
    exchange = request.scope["state"]["exchange"]
    assert isinstance(exchange, Exchange)
    return exchange
