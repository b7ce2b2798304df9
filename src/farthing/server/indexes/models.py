"""The served models as the toolkit sees them: an encoder and a reranker whose calls block.

They are for threads other than the event loop's; each call is run on the event loop. Requests go through the service as
a client's requests do: through its queue, its cache and its limits.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from farthing.core.deferred import dataclass
from farthing.core.errors import ClosedError
from farthing.serving.request import EmbedRequest, EmbedResult, Ranked, RerankRequest, joined, parts_of
from farthing.toolkit.encoder import check_unchanged
from farthing.upstream.chunks import generous_tokens

if TYPE_CHECKING:
    from farthing.core.space import VectorSpace
    from farthing.server.models.service import Service
    from farthing.serving.backend import EmbedBackend
    from farthing.serving.request import Urgency

T = TypeVar("T")
TEXTS_AT_A_TIME = 256
POLL_S = 0.2  # how soon a thread that waits for a model notices that its work was stopped


@dataclass
class Work:
    """The work that the models do for one client's request.

    Attributes:
        loop: the event loop of the server.
        num_tokens: how many tokens the models were asked for until now.
    """

    service: Service
    urgency: Urgency
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    num_texts: int = 0
    num_tokens: int = 0
    _is_stopped: bool = False
    _turns: threading.Semaphore | None = None
    _has_turn: bool = False

    def stop(self) -> None:
        """Stop the work soon, because nobody waits for the result any more."""
        self._is_stopped = True

    def check(self) -> None:
        """Raise `ClosedError` when the work was stopped, and `DeadlineError` after its time. Must be called often."""
        if self._is_stopped:
            raise ClosedError("The work was stopped: its client hung up, or the server ends.")
        if self.urgency.left_s() == 0:
            raise self.urgency.error()

    @contextmanager
    def computing(self, turns: threading.Semaphore) -> Iterator[None]:
        """Wait in a thread for its turn, and pass the turn on at the end, and while the thread waits for a model.

        Threads that all want Python's lock hold it for 5 ms each, one after the other, before the threads that answer
        requests get it again. Raises what `check` raises.
        """
        self._turns = turns
        self._take_turn()
        try:
            yield
        finally:
            self._pass_turn()
            self._turns = None

    def _take_turn(self) -> None:
        if self._turns is not None:
            while not self._turns.acquire(timeout=POLL_S):
                self.check()
            self._has_turn = True

    def _pass_turn(self) -> None:
        if self._turns is not None and self._has_turn:
            self._has_turn = False
            self._turns.release()

    def wait_for(self, call: Coroutine[Any, Any, T]) -> T:
        """Return the result of `call`; must be called in a thread. Raises what `call` and `check` raise."""
        try:
            self.check()
        except BaseException:
            call.close()
            raise
        future = asyncio.run_coroutine_threadsafe(call, self.loop)
        self._pass_turn()
        try:
            while not concurrent.futures.wait([future], POLL_S).done:
                self.check()
        except BaseException:
            future.cancel()
            raise
        self._take_turn()
        return future.result()

    def note(self, num_texts: int, num_tokens: int) -> None:
        self.num_texts += num_texts
        self.num_tokens += num_tokens


class ServedEncoder:
    """A `farthing.toolkit.encoder.Encoder` over a served model."""

    def __init__(self, work: Work, name: str, backend: EmbedBackend) -> None:
        self.model = name
        self.dimensions = backend.dimensions
        self.context_length = backend.context_length
        self._backend, self._work = backend, work
        self._tokenizer = None if backend.local is None else backend.local.tokenizer

    @property
    def space(self) -> VectorSpace:
        return self._backend.space

    def count_tokens(self, text: str) -> int:
        # The text is encoded as a batch, so that other threads run meanwhile.
        return generous_tokens(text) if self._tokenizer is None else len(self._tokenizer.encode_pieces([text])[0])

    def encode_request(self, request: EmbedRequest, *, show_progress: bool = False) -> EmbedResult:  # noqa: ARG002
        """The vectors of a request. There is nobody to show its progress to."""
        found = []
        for part in parts_of(replace(request, urgency=self._work.urgency), TEXTS_AT_A_TIME):
            result = self._work.wait_for(self._work.service.embed(part, self.model)).result
            self._work.note(len(part.inputs), result.num_tokens)
            found.append(result)
        for result in found:
            check_unchanged(found[0].space, result.space)
        return joined(found)

    def close(self) -> None:
        """Do nothing: the service goes on."""


class ServedRanker:
    """A served reranker; `name` is the client's name for it, or None for the only one."""

    def __init__(self, work: Work, name: str | None) -> None:
        self._work = work
        self._name = name

    def rank(self, query: str, documents: Sequence[str]) -> list[Ranked]:
        request = RerankRequest([(query, text) for text in documents], urgency=self._work.urgency)
        result = self._work.wait_for(self._work.service.rerank(request, self._name)).result
        self._work.note(len(documents), result.num_tokens)
        return result.ranking()
