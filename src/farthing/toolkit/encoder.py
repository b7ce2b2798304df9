"""The interface through which the toolkit sees a model that turns texts into vectors.

`farthing.Embedder` is an encoder, and so is a model on another server (`farthing.upstream.embedder.UpstreamEmbedder`),
or anything else with these few members. Code that stores vectors keeps their space and checks it again later: an
encoder may change its weights while it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from farthing.core.errors import DoesNotFitError, SpaceChangedError
from farthing.core.progress import OnStep, untold
from farthing.core.settings import EngineSettings, ServingSettings, SourceSettings, UpstreamSettings
from farthing.core.space import VectorSpace
from farthing.serving.request import EmbedRequest, EmbedResult, Ranked

if TYPE_CHECKING:
    from farthing.serving.embedder import Embedder


class Encoder(Protocol):
    """
    Attributes:
        model: the model's name, as the caller asked for it.
    """

    model: str

    @property
    def dimensions(self) -> int:
        """The length of the full vectors."""
        ...

    @property
    def space(self) -> VectorSpace:
        """The space of the full unit vectors that this model makes at the moment."""
        ...

    @property
    def context_length(self) -> int:
        """The most tokens that one text may have; 0 where that is not known."""
        ...

    def count_tokens(self, text: str) -> int:
        """The number of tokens of a text of any length, without special tokens. It is approximate where the model's
        tokenizer is not at hand."""
        ...

    def encode_request(self, request: EmbedRequest, *, show_progress: bool = False) -> EmbedResult:
        """The vectors of a request of any number of inputs, all of one space, and what else is known about them.

        Raises:
            InputError: an input or an argument cannot be served as it is; the message names its index.
            EngineError, ServingError: the computation failed.
        """
        ...

    def close(self) -> None: ...


class AsyncEncoder(Encoder, Protocol):
    """An encoder that can be asked from an event loop."""

    async def embed_async(self, request: EmbedRequest) -> EmbedResult:
        """The vectors of one request of at most `max_texts_per_request` inputs, without blocking the event loop.

        Also raises `QueueFullError`, and `MemoryShortError` while no new work is taken.
        """
        ...


def check_unchanged(before: VectorSpace, now: VectorSpace) -> None:
    """Raise `SpaceChangedError` when an encoder has changed its weights between two requests.

    Vectors from before and after the change cannot be compared. How many dimensions they have does not matter here.
    """
    if now.fingerprint != before.fingerprint:
        raise SpaceChangedError(
            f"The vectors of {before.model} are of another space now than before, and cannot be compared with the "
            "earlier ones. The server that computes the model has changed its weights, as a Farthing does when its "
            "memory runs short: give it more memory, or smaller weights from the start (--format), and begin again."
        )


class RankingModel(Protocol):
    """A model that orders texts by how well they answer a query: `farthing.Reranker`, or one on another server."""

    def rank(
        self, query: str, documents: Sequence[str], *, top_n: int | None = None, instruction: str | None = None
    ) -> list[Ranked]:
        """The documents, best first, or only the `top_n` best of them.

        Raises:
            InputError: a text or an argument cannot be served as it is.
            EngineError, ServingError: the computation failed.
        """
        ...

    def close(self) -> None: ...


def unlimited(serving: ServingSettings) -> ServingSettings:
    """The settings without limits on what waits, for work of our own, none of which is to be refused."""
    return replace(serving, max_queue_tokens=sys.maxsize, max_queue_ms=None)


def lasting_name(model: str) -> str:
    """A model's name as it is found from any folder: a path becomes absolute."""
    from farthing.sources.local import local_folder

    folder = local_folder(model)
    return model if folder is None else str(folder)


def open_encoder(
    model: str,
    source: SourceSettings,
    engine: EngineSettings,
    serving: ServingSettings,
    upstream: UpstreamSettings,
    on_step: OnStep = untold,
    others_bytes: int = 0,
) -> AsyncEncoder:
    """Open the model in this process, or at the server that `upstream` names.

    Args:
        others_bytes: how much of a memory budget the rest of the process needs beside the model.
        on_step: told how far the model is with being prepared and loaded.

    Raises:
        ModelError: the model cannot be found or used.
        SettingsError: the settings cannot be met.
        NoUpstreamError: no server was ready in time.
    """
    # Imported here, so that a server elsewhere can be asked without loading torch.
    if upstream.is_used:
        from farthing.upstream.embedder import UpstreamEmbedder
        from farthing.upstream.open import open_upstream

        opened = open_upstream(model, upstream, source, engine, serving)
        assert isinstance(opened, UpstreamEmbedder)
        return opened
    return open_embedder(model, source, engine, serving, on_step, others_bytes)


def open_embedder(
    model: str,
    source: SourceSettings,
    engine: EngineSettings,
    serving: ServingSettings,
    on_step: OnStep,
    others_bytes: int,
) -> Embedder:
    """Open the model in this process. The arguments and errors are those of `open_encoder`."""
    from farthing.serving.embedder import Embedder

    planned = engine.less_memory(others_bytes)
    try:
        return Embedder.from_settings(model, source, engine, serving, planned=planned, on_step=on_step)
    except DoesNotFitError as error:
        if not others_bytes or planned.memory == engine.memory:
            raise
        raise error.beside(engine.memory, others_bytes) from error


def open_reranker(
    model: str,
    source: SourceSettings,
    engine: EngineSettings,
    serving: ServingSettings,
    upstream: UpstreamSettings,
    on_step: OnStep = untold,
) -> RankingModel:
    """Open a model that ranks texts, in this process or at the server that `upstream` names.

    The arguments and errors are those of `open_encoder`.
    """
    if upstream.is_used:
        from farthing.upstream.open import open_upstream
        from farthing.upstream.reranker import UpstreamReranker

        opened = open_upstream(model, upstream, source, engine, serving, task="rerank")
        assert isinstance(opened, UpstreamReranker)
        return opened
    from farthing.serving.reranker import Reranker

    return Reranker.from_settings(model, source, engine, serving, on_step=on_step)
