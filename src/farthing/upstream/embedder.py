"""A model on other servers that makes vectors: our prompts, cleaning, cutting and scaling around what they compute.

In: requests as `farthing.serving.embedder` takes them. Out: the same results. Upstreams are asked for full vectors in
parts of `upstream_batch_texts`. Vectors are cut and made 1 long here, so that upstreams need not know how.

Truncation is the upstream's business: OpenAI's API has no word for it, though another Farthing's has. When an upstream
refuses a text for its length, that is an error of the request, with the upstream's message.

Another Farthing says which space its vectors are of. All upstreams that are used must say the same, or all nothing.
When only one upstream is used and it changes its weights, as it does when its memory runs short, this model's space
changes with it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from farthing.core.errors import InputError, UpstreamFailedError, UpstreamInputError, WrongTaskError
from farthing.core.progress import progress_bar
from farthing.core.settings import ServingSettings, UpstreamSettings
from farthing.core.space import ELSEWHERE, VectorSpace, elsewhere_fingerprint
from farthing.models.spec import EmbeddingSpec
from farthing.serving.request import (
    CheckedRequest,
    EmbedRequest,
    EmbedResult,
    Terms,
    check_number,
    joined,
    parts_of,
)
from farthing.serving.text.vocabulary import Unknown
from farthing.serving.vectors import check_dimensions, finish_vectors
from farthing.upstream.answer import AttemptFailedError
from farthing.upstream.chunks import CHARS_PER_TOKEN, Chunk, fit_input, generous_tokens, split, weight_of
from farthing.upstream.client import UpstreamClient
from farthing.upstream.prompts import NOTHING_KNOWN, prompt_warnings, upstream_prefix
from farthing.upstream.served import UpstreamModel, gather_bounded
from farthing.upstream.vectors import MAX_LISTED, UpstreamVectors, ask_vectors, share_out

logger = logging.getLogger(__name__)

PROBE = (
    "The quick brown fox jumps over the lazy dog.",
    "Farthing: a quarter of a penny, coined in silver, copper and bronze; 1/960 of a pound. 四分之一便士",
)
# When an upstream has refused this many inputs one after another and has taken none, the refusal is no single input's
# fault.
MOST_REFUSED = 8
REQUEST_TEXTS = 1024  # texts that `encode_request` asks for at a time; their parts are asked for side by side
MIN_COSINE = 0.99  # between upstreams of one model: fp16 and bf16 stay above it, another model or pooling far below


class UpstreamEmbedder(UpstreamModel):
    """A model on other servers that makes vectors, ready.

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
        self._told_space: str | None = None  # which space the upstreams that are used say their vectors are of
        super().__init__(model, urls, settings, serving, **others)

    # --- facts ---------------------------------------------------------------------------------------------------

    @property
    def dimensions(self) -> int:
        """The length of the full vectors."""
        assert self._reference is not None, "an upstream was asked"
        return int(self._reference.shape[1])

    @property
    def space(self) -> VectorSpace:
        """The space of the full unit vectors that the upstreams make at the moment."""
        return self._space(self._told_space)

    def _space(self, told: str | None) -> VectorSpace:
        """The space of full unit vectors.

        What the upstream calls the model stands for its weights, unless it tells more: nobody else knows.
        """
        named = self._settings.upstream_space or told or self.upstream_model
        fingerprint = elsewhere_fingerprint(named, self.dimensions)
        return VectorSpace(self.model, fingerprint, ELSEWHERE, self.dimensions, normalized=True)

    def facts(self) -> dict[str, str]:
        """Where the model is computed, in words, for start-up output."""
        prompts = "not known" if self._spec is None else ", ".join(self._spec.prompts) or "none"
        return super().facts() | {"dimensions": str(self.dimensions), "prompts": prompts}

    async def _admit(self, client: UpstreamClient) -> None:
        vectors = await self._ask_probe(client)
        rows = vectors.rows
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
        if not self._is_expected(vectors):
            if any(state.is_up and state.url != client.name for state in self.upstreams()):
                raise AttemptFailedError(
                    "makes vectors of another space than the upstreams in use, or one of them does not say of which: "
                    "quantised in another way, or other weights. upstream_space makes them count as one."
                )
            logger.info("Upstream %s makes vectors of the space %s", client.name, vectors.told.space)
            self._told_space = vectors.told.space
        client.counts_characters = vectors.num_tokens == sum(map(len, PROBE))
        client.is_farthing = vectors.told.space is not None

    def _is_expected(self, vectors: UpstreamVectors) -> bool:
        """Whether vectors are of the space that the upstreams in use tell, or the user says what their space is."""
        return self._settings.upstream_space is not None or vectors.told.space == self._told_space

    async def _ask_probe(self, client: UpstreamClient) -> UpstreamVectors:
        dimensions = self._settings.upstream_dimensions or (None if self._reference is None else self.dimensions)
        try:
            return await ask_vectors(client, self.upstream_model, PROBE, dimensions=dimensions)
        except UpstreamInputError:
            if not client.as_base64:
                raise
        client.as_base64 = False  # a server that does not know encoding_format
        return await ask_vectors(client, self.upstream_model, PROBE, dimensions=dimensions)

    # --- work ----------------------------------------------------------------------------------------------------

    def check(self, request: EmbedRequest) -> CheckedRequest:
        """Resolve the request's prompt, and find what lowers the quality of its vectors. No upstream is asked.

        Raises `InputError` for what cannot be served whatever the texts are.
        """
        check_number(len(request.inputs), self._serving, "input")
        return CheckedRequest(request, self._terms(request))

    async def compute(self, checked: CheckedRequest) -> EmbedResult:
        """The vectors of a request that `check` returned. Cancelling takes back what is not computed yet.

        Raises:
            InputError: the request cannot be served as it is; `UpstreamInputError` when the upstream says so.
            NoUpstreamError, UpstreamBusyError, UpstreamFailedError: no upstream can answer.
        """
        return await self._on_own_loop(self._embed(checked), len(checked.request.inputs))

    async def embed_async(self, request: EmbedRequest) -> EmbedResult:
        """The vectors of one request. Raises as `check` and `compute`."""
        return await self.compute(self.check(request))

    def encode_request(self, request: EmbedRequest, *, show_progress: bool = False) -> EmbedResult:
        """The vectors of a request of any number of texts. It blocks, so it is not for an event loop.

        Raises as `embed_async`, and `UpstreamFailedError` when the upstream's weights change on the way.
        """
        found: list[EmbedResult] = []
        with progress_bar(len(request.inputs), shown=show_progress, unit=" texts", dynamic_ncols=True) as bar:
            for part in parts_of(request, REQUEST_TEXTS):
                result = self._embed_and_wait(part)
                if found and result.space.id != found[0].space.id:
                    raise UpstreamFailedError("The server that computes this model has changed its weights. Try again.")
                found.append(result)
                bar.update(len(part.inputs))
        return joined(found) if found else self._embed_and_wait(request)

    def count_tokens(self, text: str) -> int:
        """The estimated number of tokens of a text: the model's tokenizer is on another server."""
        return generous_tokens(text)

    def _embed_and_wait(self, request: EmbedRequest) -> EmbedResult:
        return self._loop.run(self._tracked(self._embed(CheckedRequest(request, self._terms(request)))))

    async def _embed(self, checked: CheckedRequest) -> EmbedResult:
        request = checked.request
        if request.per_token:
            raise WrongTaskError(
                f"The model {self.model} runs in another server, which is asked for one vector a text."
            )
        dimensions = request.dimensions or self.dimensions
        warnings = checked.terms.warnings
        errors: dict[int, InputError] = {}
        chunks = self._chunks(checked, errors)
        found = await self._ask_all(chunks, request, errors)
        rows = np.zeros((len(request.inputs), dimensions), dtype=np.float32)
        text_tokens = [0] * len(request.inputs)
        num_computed = 0
        truncated: list[int] = []
        unknown: list[int] = []
        for chunk, vectors in found:
            rows[chunk.places] = finish_vectors(vectors.rows, dimensions, request.normalize)
            total = vectors.num_tokens or -(-chunk.weight // CHARS_PER_TOKEN)
            num_computed += total - vectors.num_cached_tokens
            truncated += [chunk.places[index] for index in vectors.told.truncated]
            unknown += [chunk.places[index] for index in vectors.told.unknown]
            warnings += vectors.told.warnings
            parts = share_out(total, [weight_of(item) for item in chunk.inputs])
            for place, part in zip(chunk.places, parts, strict=True):
                text_tokens[place] = part
        self._stats.add(tokens_total=sum(text_tokens), computed_tokens_total=num_computed)
        told = found[0][1].told.space if found else self._told_space
        return EmbedResult(
            rows,
            num_tokens=sum(text_tokens),
            num_computed_tokens=num_computed,
            space=self._space(told).of_vectors(dimensions, normalized=request.normalize),
            truncated=tuple(sorted(truncated)),
            warnings=tuple(dict.fromkeys(warnings)),
            text_tokens=tuple(text_tokens),
            unknown=Unknown(tuple(sorted(unknown))),
            errors=errors,
        )

    def _terms(self, request: EmbedRequest) -> Terms:
        return Terms(upstream_prefix(request, self._spec, self._serving.max_text_chars), self._warnings(request))

    def _warnings(self, request: EmbedRequest) -> tuple[str, ...]:
        warnings = (*self._dimension_warnings(request), *prompt_warnings(request, self._spec))
        if request.truncate and any(client.is_farthing is False for client in self._clients):
            warnings += ("whether long texts are cut is left to the server that computes this model",)
        if request.max_tokens is not None:
            warnings += ("texts are cut to no number of tokens: the model is computed by another server",)
        return warnings

    def _dimension_warnings(self, request: EmbedRequest) -> tuple[str, ...]:
        found = check_dimensions(request, self.dimensions, self._spec or NOTHING_KNOWN)
        if found and self._spec is None:
            return ("whether this model was trained to be cut is not known here",)
        return found

    def _chunks(self, checked: CheckedRequest, errors: dict[int, InputError]) -> list[Chunk]:
        """The request's inputs in chunks.

        Raises `InputError` for the first input that cannot be sent, or puts the error into `errors` and leaves the
        input out.
        """
        request, prefix = checked.request, checked.terms.prefix
        size = self._settings.upstream_batch_texts
        if any(client.is_farthing for client in self._clients):
            size = min(size, MAX_LISTED)
        items: list[str | list[int] | None] = []
        for index, item in enumerate(request.inputs):
            try:
                items.append(fit_input(item, index, prefix, self._serving, is_clean=checked.is_clean))
            except InputError as error:
                if not request.leaves_out:
                    raise
                items.append(None)
                errors[index] = error
        return split(items, size)

    async def _ask_all(
        self, chunks: Sequence[Chunk], request: EmbedRequest, errors: dict[int, InputError]
    ) -> list[tuple[Chunk, UpstreamVectors]]:
        """The vectors of all chunks, of one space.

        If the upstreams' weights change meanwhile, all are asked again, once.
        """
        truncate = self._serving.truncate if request.truncate is None else request.truncate
        ask = functools.partial(self._ask, num_inputs=len(request.inputs), truncate=truncate)
        for _ in range(2):
            parts = await gather_bounded([self._ask_chunk(chunk, request, ask, errors) for chunk in chunks])
            found = [pair for part in parts for pair in part]
            if self._settings.upstream_space is not None or len({vectors.told.space for _, vectors in found}) <= 1:
                return found
        raise UpstreamFailedError("The server that computes this model changes its weights. Try again.")

    async def _ask_chunk(
        self,
        chunk: Chunk,
        request: EmbedRequest,
        ask: Callable[[Chunk], Awaitable[UpstreamVectors]],
        errors: dict[int, InputError],
    ) -> list[tuple[Chunk, UpstreamVectors]]:
        """The vectors of a chunk.

        Where inputs may be left out, those that the upstream refuses are found by halving what was sent. Raises
        `UpstreamInputError` too when all that was sent so far is refused: that is no single input's fault.
        """
        found: list[tuple[Chunk, UpstreamVectors]] = []
        waiting, num_refused = [chunk], 0
        while waiting:
            part = waiting.pop()
            try:
                found.append((part, await ask(part)))
            except UpstreamInputError as error:
                if not request.leaves_out or (not found and num_refused >= MOST_REFUSED):
                    raise
                if len(part.inputs) > 1:
                    waiting += part.halves()
                    continue
                errors[part.places[0]] = error
                num_refused += 1
        return found

    async def _ask(self, chunk: Chunk, num_inputs: int, truncate: bool) -> UpstreamVectors:
        async def call(client: UpstreamClient) -> UpstreamVectors:
            vectors = await ask_vectors(client, self.upstream_model, chunk.inputs, truncate, self.dimensions)
            if vectors.rows.shape[1] != self.dimensions:
                raise AttemptFailedError(f"answered {vectors.rows.shape[1]} dimensions, not {self.dimensions}")
            if not self._is_expected(vectors):
                raise AttemptFailedError("answered vectors of another space than before")
            return replace(vectors, num_tokens=None) if client.counts_characters else vectors

        try:
            return await self._call(call, chunk.weight, len(chunk.inputs))
        except UpstreamInputError as error:
            if len(chunk.inputs) == num_inputs:
                raise
            raise type(error)(
                f"Of texts {chunk.places[0]} to {chunk.places[-1]} of the request: {error}", param=error.param
            ) from error
