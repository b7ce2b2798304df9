"""What turns texts into vectors, as all of the toolkit sees it.

`farthing.Embedder` is one, and so is a model on another server (`farthing.upstream.embedder.UpstreamEmbedder`), or
anything else with these few members. What stores vectors keeps their space and asks for it again: an encoder may
change its weights while it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from farthing.core.errors import DoesNotFitError
from farthing.core.settings import EngineSettings, ServingSettings, SourceSettings, UpstreamSettings
from farthing.core.space import VectorSpace
from farthing.serving.request import EmbedRequest, EmbedResult, InputType

if TYPE_CHECKING:
    from farthing.serving.embedder import Embedder


class Encoder(Protocol):
    """
    Attributes:
        model: its name, as it was asked for.
    """

    model: str

    @property
    def dimensions(self) -> int:
        """Length of the full vectors."""
        ...

    @property
    def space(self) -> VectorSpace:
        """Of full vectors of length 1 made now."""
        ...

    @property
    def context_length(self) -> int:
        """Most tokens of one text; 0 where that is not known."""
        ...

    def count_tokens(self, text: str) -> int:
        """Of a text of any length, without special tokens; about, where the model's tokenizer is not at hand."""
        ...

    def encode(
        self,
        texts: Sequence[str],
        *,
        instruction: str | None = None,
        input_type: InputType | None = None,
        dimensions: int | None = None,
        truncate: bool | None = None,
        show_progress: bool = False,
    ) -> np.ndarray:
        """Vectors of length 1 of any number of texts: float32 [texts, dimensions].

        Args:
            input_type: takes the model's prompt for queries or documents, if it has one.
            truncate: cut texts longer than the context instead of refusing them; None for the configured default.

        Raises:
            InputError: a text or an argument cannot be served as it is; the message names its index.
            EngineError, ServingError: the computation failed.
        """
        ...

    def close(self) -> None: ...


class RequestEncoder(Encoder, Protocol):
    """One that tells more of its vectors."""

    def encode_request(self, request: EmbedRequest, *, show_progress: bool = False) -> EmbedResult:
        """As `encode`, of any number of inputs, with what is known of the vectors beside them."""
        ...


def lasting_name(model: str) -> str:
    """A model's name as it is found from any folder: of a path the absolute one."""
    from farthing.sources.find import local_folder

    folder = local_folder(model)
    return model if folder is None else str(folder)


def open_encoder(
    model: str,
    source: SourceSettings,
    engine: EngineSettings,
    serving: ServingSettings,
    upstream: UpstreamSettings,
    on_layer: Callable[[int, int], object] = lambda *_: None,
    others_bytes: int = 0,
) -> RequestEncoder:
    """The model in this process, or at the server that `upstream` names.

    Args:
        others_bytes: of a budget, what the rest of the process needs beside the model.
        on_layer: called with the number of layers that are loaded, and of all, after each.

    Raises:
        ModelError: the model cannot be found or used.
        SettingsError: the settings cannot be met.
        NoUpstreamError: no server was ready in time.
    """
    # Imported here: a server elsewhere is asked without loading torch.
    if upstream.urls or upstream.engine != "farthing":
        from farthing.upstream.embedder import UpstreamEmbedder
        from farthing.upstream.open import open_upstream

        opened = open_upstream(model, upstream, source, engine, serving)
        assert isinstance(opened, UpstreamEmbedder)
        return opened
    return open_embedder(model, source, engine, serving, on_layer, others_bytes)


def open_embedder(
    model: str,
    source: SourceSettings,
    engine: EngineSettings,
    serving: ServingSettings,
    on_layer: Callable[[int, int], object],
    others_bytes: int,
) -> Embedder:
    """The model in this process; as `open_encoder`."""
    from farthing.serving.embedder import Embedder

    planned = engine.less_memory(others_bytes)
    try:
        return Embedder.from_settings(model, source, engine, serving, planned=planned, on_layer=on_layer)
    except DoesNotFitError as error:
        if not others_bytes or planned.memory == engine.memory:
            raise
        raise error.beside(engine.memory, others_bytes) from error
