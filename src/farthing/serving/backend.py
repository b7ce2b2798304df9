"""What answers a model's requests: a model in this process, or servers elsewhere.

`farthing.serving.embedder.Embedder` and `farthing.serving.reranker.Reranker` are backends. The code around them (a
cache, a server's directory of models) asks for no more than this. Nothing of the engine is imported here, so that a
server without models of its own does without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from farthing.core.space import VectorSpace
    from farthing.models.forward.heads import Task
    from farthing.serving.governor import MemoryState
    from farthing.serving.local_model import ServedModel
    from farthing.serving.request import CheckedRequest, EmbedRequest, EmbedResult, RerankRequest, RerankResult
    from farthing.serving.stats import Health, ServingStats


class Backend(Protocol):
    @property
    def model(self) -> str: ...

    @property
    def task(self) -> Task: ...

    @property
    def local(self) -> ServedModel | None:
        """The model in this process that answers in the end; None where servers elsewhere do."""
        ...

    @property
    def context_length(self) -> int:
        """The most tokens of one text or pair."""
        ...

    def facts(self) -> dict[str, str]:
        """Where the model came from and how it is run, in words, for start-up output."""
        ...

    def health(self) -> Health: ...

    def stats(self) -> ServingStats: ...

    def memory(self) -> MemoryState | None:
        """Which step to save memory is in force; None when nobody watches the memory."""
        ...

    def close(self) -> None:
        """Finish what was accepted, then refuse work. Closing twice is fine."""
        ...


class EmbedBackend(Backend, Protocol):
    @property
    def dimensions(self) -> int:
        """The length of the full vectors."""
        ...

    @property
    def space(self) -> VectorSpace:
        """The space of the full unit vectors that this model makes at the moment."""
        ...

    def check(self, request: EmbedRequest) -> CheckedRequest:
        """Resolve the request's prompt, and answer the request where nothing has to be computed or waited for.

        Raises `InputError` for what cannot be served.
        """
        ...

    async def compute(self, checked: CheckedRequest) -> EmbedResult:
        """The vectors of a request that `check` returned. Cancelling takes its texts out of the queue.

        Raises `InputError`, `EngineError`, `ServingError`.
        """
        ...


class RerankBackend(Backend, Protocol):
    async def rerank_async(self, request: RerankRequest) -> RerankResult:
        """The scores of one request. Cancelling takes its pairs out of the queue. Raises as `EmbedBackend.compute`."""
        ...
