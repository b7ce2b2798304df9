"""A model on other servers that makes vectors: our prompts, cleaning, cutting and scaling around what they compute.

In: requests as `farthing.serving.embedder` takes them. Out: the same results. Upstreams are asked for full vectors in
parts of `upstream_batch_texts`; dimensions are cut and lengths made 1 here, so that they need not know how.

Truncation is the upstream's: OpenAI's API has no word for it. A text that one refuses for its length is an error of
the request, with the upstream's message.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from farthing.core.errors import EmptyInputError, InputError, UpstreamInputError
from farthing.core.settings import ServingSettings, UpstreamSettings
from farthing.core.space import VectorSpace
from farthing.models.spec import EmbeddingSpec
from farthing.serving.request import EmbedRequest, EmbedResult, Terms
from farthing.serving.text import fit_text
from farthing.serving.vectors import check_dimensions, finish_vectors
from farthing.upstream.attempt import AttemptFailedError
from farthing.upstream.client import UpstreamClient
from farthing.upstream.prompts import NOTHING_KNOWN, prompt_warnings, upstream_prefix
from farthing.upstream.served import UpstreamModel, gather_bounded
from farthing.upstream.vectors import Vectors, ask_vectors, share_out

PROBE = (
    "The quick brown fox jumps over the lazy dog.",
    "Farthing: a quarter of a penny, coined in silver, copper and bronze; 1/960 of a pound. 四分之一便士",
)
MIN_COSINE = 0.99  # between upstreams of one model: fp16 and bf16 stay above, another model or pooling far below
CHARS_PER_TOKEN = 4  # where an upstream does not say how many tokens there were

Input = str | Sequence[int]


@dataclass(frozen=True)
class Chunk:
    """Inputs as they are sent, and their places in the request."""

    inputs: Sequence[Input]
    places: Sequence[int]

    @property
    def weight(self) -> int:
        return sum(map(weight_of, self.inputs))


class UpstreamEmbedder(UpstreamModel):
    """A model on other servers, ready.

    Args:
        spec: the model's prompts; None where they are not known.
        others: as `UpstreamModel`.
    """

    task = "embed"

    def __init__(
        self,
        model: str,
        urls: Sequence[str],
        settings: UpstreamSettings,
        serving: ServingSettings,
        *,
        spec: EmbeddingSpec | None = None,
        **others: Any,
    ) -> None:
        self._spec = spec
        self._reference: np.ndarray | None = None  # vectors of the probe, as the first upstream made them
        super().__init__(model, urls, settings, serving, **others)

    # --- facts ---------------------------------------------------------------------------------------------------

    @property
    def dimensions(self) -> int:
        """Length of the full vectors."""
        assert self._reference is not None, "an upstream was asked"
        return int(self._reference.shape[1])

    @property
    def space(self) -> VectorSpace:
        """Of full vectors of length 1. What the upstream calls the model stands for its weights: nobody else knows."""
        named = json.dumps([self._settings.upstream_space or self.upstream_model, self.dimensions])
        fingerprint = f"upstream-{hashlib.sha256(named.encode()).hexdigest()[:16]}"
        return VectorSpace(self.model, fingerprint, "upstream", self.dimensions, normalized=True)

    def facts(self) -> dict[str, str]:
        """Where the model is computed, in words, for start-up output."""
        prompts = "not known" if self._spec is None else ", ".join(self._spec.prompts) or "none"
        return super().facts() | {"dimensions": str(self.dimensions), "prompts": prompts}

    async def _admit(self, client: UpstreamClient) -> None:
        rows = (await self._ask_probe(client)).rows
        wanted = self._settings.upstream_dimensions or (self._reference.shape[1] if self._reference is not None else 0)
        if wanted and rows.shape[1] != wanted:
            raise AttemptFailedError(f"makes vectors of {rows.shape[1]} dimensions, not {wanted}")
        unit = finish_vectors(rows, rows.shape[1], normalize=True)
        if self._context_length is None:
            self._context_length = await client.max_tokens(self.upstream_model)
        if self._reference is None:
            self._reference = unit
        cosine = float((unit * self._reference).sum(axis=1).min())
        if not cosine >= MIN_COSINE:
            raise AttemptFailedError(
                f"makes other vectors than the first upstream: their cosine is {cosine:.3f}, and {MIN_COSINE} is "
                "needed. Do both serve the same model?"
            )

    async def _ask_probe(self, client: UpstreamClient) -> Vectors:
        try:
            return await ask_vectors(client, self.upstream_model, PROBE)
        except UpstreamInputError:
            if not client.as_base64:
                raise
        client.as_base64 = False  # a server that does not know encoding_format
        return await ask_vectors(client, self.upstream_model, PROBE)

    # --- work ----------------------------------------------------------------------------------------------------

    def held(self, request: EmbedRequest) -> EmbedResult | None:  # noqa: ARG002
        """None: upstreams have to be asked."""
        return None

    async def embed_async(self, request: EmbedRequest) -> EmbedResult:
        """One request. Cancelling it takes back what is not computed yet.

        Raises:
            InputError: it cannot be served as it is; `UpstreamInputError` when it is the upstream that says so.
            NoUpstreamError, UpstreamBusyError, UpstreamFailedError: no upstream can answer.
        """
        self._check_count(len(request.inputs), "input")
        return await self._on_own_loop(self._embed(request), len(request.inputs))

    async def _embed(self, request: EmbedRequest) -> EmbedResult:
        dimensions = request.dimensions or self.dimensions
        warnings = self._warnings(request)
        chunks = self._chunks(request)
        found = await gather_bounded([self._ask(chunk, len(request.inputs)) for chunk in chunks])
        rows = np.zeros((len(request.inputs), dimensions), dtype=np.float32)
        text_tokens = [0] * len(request.inputs)
        num_computed = 0
        for chunk, vectors in zip(chunks, found, strict=True):
            rows[chunk.places] = finish_vectors(vectors.rows, dimensions, request.normalize)
            total = vectors.num_tokens or -(-chunk.weight // CHARS_PER_TOKEN)
            num_computed += total - vectors.num_cached_tokens
            parts = share_out(total, [weight_of(item) for item in chunk.inputs])
            for place, part in zip(chunk.places, parts, strict=True):
                text_tokens[place] = part
        self._stats.add(tokens_total=sum(text_tokens), computed_tokens_total=num_computed)
        space = replace(self.space, dimensions=dimensions, normalized=request.normalize)
        return EmbedResult(
            rows, sum(text_tokens), num_computed, space, warnings=warnings, text_tokens=tuple(text_tokens)
        )

    def terms(self, request: EmbedRequest) -> Terms:
        """What goes before the texts, and warnings. Raises `InputError`."""
        self._check_count(len(request.inputs), "input")
        return Terms(upstream_prefix(request, self._spec), self._warnings(request))

    def _warnings(self, request: EmbedRequest) -> tuple[str, ...]:
        warnings = (*self._dimension_warnings(request), *prompt_warnings(request, self._spec))
        if request.truncate:
            warnings += ("whether long texts are cut is left to the server that computes this model",)
        return warnings

    def _dimension_warnings(self, request: EmbedRequest) -> tuple[str, ...]:
        found = check_dimensions(request, self.dimensions, self._spec or NOTHING_KNOWN)
        if found and self._spec is None:
            return ("whether this model was trained to be cut is not known here",)
        return found

    def _chunks(self, request: EmbedRequest) -> list[Chunk]:
        """Raises `InputError` for the first input that cannot be sent."""
        prefix = upstream_prefix(request, self._spec)
        ready = [self._ready(item, index, prefix) for index, item in enumerate(request.inputs)]
        size = self._settings.upstream_batch_texts
        chunks = []
        for kind in (str, list):  # texts and token ids do not mix in one request of OpenAI's API
            places = [index for index, item in enumerate(ready) if isinstance(item, kind)]
            parts = (places[start : start + size] for start in range(0, len(places), size))
            chunks += [Chunk([ready[index] for index in part], part) for part in parts]
        return chunks

    def _ready(self, item: Input, index: int, prefix: str) -> Any:
        """As it is sent: a str, or a list of token ids; None where a zero vector is the answer."""
        if isinstance(item, str):
            text = fit_text(item, index, self._serving)
            return None if text is None else prefix + text
        if prefix:
            raise InputError(
                f"Text {index} is given as token ids, before which no prompt can be put here: this model's tokenizer "
                "is on another server. Send texts, or leave the prompt out.",
                param=f"input[{index}]",
            )
        if not item:
            raise EmptyInputError(f"Text {index} is an empty list of token ids.", param=f"input[{index}]")
        return list(item)

    async def _ask(self, chunk: Chunk, num_inputs: int) -> Vectors:
        async def call(client: UpstreamClient) -> Vectors:
            vectors = await ask_vectors(client, self.upstream_model, chunk.inputs)
            if vectors.rows.shape[1] != self.dimensions:
                raise AttemptFailedError(f"answered {vectors.rows.shape[1]} dimensions, not {self.dimensions}")
            return vectors

        try:
            return await self._call(call, chunk.weight, len(chunk.inputs))
        except UpstreamInputError as error:
            if len(chunk.inputs) == num_inputs:
                raise
            raise type(error)(
                f"Of texts {chunk.places[0]} to {chunk.places[-1]} of the request: {error}", param=error.param
            ) from error


def weight_of(item: Input) -> int:
    """About its number of characters."""
    return len(item) if isinstance(item, str) else CHARS_PER_TOKEN * len(item)
