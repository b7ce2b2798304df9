"""The public face: a loaded model that turns texts into vectors, for many callers at once.

In: texts and what is asked of the vectors. Out: float32 arrays. What happens to a request is described in
`farthing.serving.pipeline`, the model behind its queue in `farthing.serving.local_model`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from farthing.core.space import VectorSpace
from farthing.engine.describe import ModelDescription
from farthing.engine.weights.load import fingerprint
from farthing.models.batch.ragged import ragged
from farthing.serving.collector import Collector
from farthing.serving.local_model import ServedModel
from farthing.serving.pipeline import Pipeline
from farthing.serving.request import CheckedRequest, EmbedRequest, EmbedResult, InputType, LaneName, Terms, check_number
from farthing.serving.text.clean import as_inputs, clean_text
from farthing.serving.text.prepare import BoundedPreparer, LeavingPreparer, Preparer
from farthing.serving.text.prompts import prompt_prefix
from farthing.serving.text.token_lists import TokenLists
from farthing.serving.text.tokenizer import TextTokenizer, Token
from farthing.serving.text.vocabulary import VocabularyWatch
from farthing.serving.vectors import check_dimensions, finish_vectors

T = TypeVar("T")


class VectorCollector(Collector):
    """Collects the vectors of a request, for a model whose rows have `hidden` numbers."""

    def __init__(self, request: EmbedRequest, warnings: tuple[str, ...], hidden: int) -> None:
        self._request, self._warnings = request, warnings
        self._dimensions = request.dimensions or hidden
        super().__init__(len(request.inputs), self._dimensions)
        if request.per_token:
            self.rows = ragged([np.zeros((0, self._dimensions), np.float32)] * len(request.inputs))

    def finished(self, rows: np.ndarray) -> np.ndarray:
        if self._request.per_token:
            return ragged([finish_vectors(text, self._dimensions, self._request.normalize) for text in rows])
        return finish_vectors(rows, self._dimensions, self._request.normalize)

    def result(self, space: VectorSpace) -> EmbedResult:
        return EmbedResult(
            self.rows,
            self.num_tokens,
            self.num_computed_tokens,
            space,
            self.truncated,
            self._warnings,
            self.timings,
            self.text_tokens,
            self.unknown,
        )


class Embedder(ServedModel):
    """A model that makes vectors, loaded and ready.

    Attributes:
        dimensions: length of the full vectors.

    Args:
        model: a local folder or GGUF file, a Hugging Face id, `modelscope:ID`, or `starter`.
        settings: any of the settings in docs/settings.md that concern the model, engine or queue, by name.

    Raises:
        ModelError: the model cannot be found or used.
        SettingsError: a setting is unknown or out of range.
    """

    task = "embed"

    def _prepare_with(self, tokenizer: TextTokenizer) -> None:
        self.dimensions = self._live.description.spec.hidden
        self._space: tuple[ModelDescription, VectorSpace] | None = None
        self._preparer = Preparer(tokenizer, self.plan.context_length, self._settings)
        self._pipeline = Pipeline(
            self._preparer, self._scheduler, self._pools, self.plan.context_length, run_here=self._run_here
        )
        self._vocabulary = VocabularyWatch(self.model)
        self._lists = TokenLists(tokenizer, self._pools, self._settings)

    # --- facts ---------------------------------------------------------------------------------------------------

    @property
    def space(self) -> VectorSpace:
        """The space of the full unit vectors that the model makes now; it changes with the weights."""
        description, known = self._live.description, self._space
        if known is not None and known[0] is description:
            return known[1]
        pooling = description.embedding.pooling
        space = VectorSpace(self.model, fingerprint(description), pooling, self.dimensions, normalized=True)
        self._space = description, space
        return space

    def _own_facts(self) -> Iterator[str]:
        yield f"dimensions={self.dimensions}"

    def facts(self) -> dict[str, str]:
        """Where the model came from and how it is run, in words, for start-up output."""
        return {"origin": self.origin, "dimensions": str(self.dimensions), **super().facts()}

    # --- work ----------------------------------------------------------------------------------------------------

    def encode(
        self,
        texts: str | Sequence[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        instruction: str | None = None,
        input_type: InputType | None = None,
        dimensions: int | None = None,
        normalize: bool = True,
        truncate: bool | None = None,
        show_progress: bool = False,
    ) -> np.ndarray:
        """The vectors of any number of texts: float32 [texts, dimensions], or [dimensions] for a single str.

        The arguments are those of `EmbedRequest`.

        Raises:
            InputError: a text or an argument cannot be served as it is; the message names its index.
            EngineError, ServingError: the computation failed.
        """
        inputs = as_inputs(texts)
        request = EmbedRequest(inputs, prompt, prompt_name, instruction, input_type, dimensions, normalize, truncate)
        vectors = self.encode_request(request, show_progress=show_progress).vectors
        return vectors[0] if isinstance(texts, str) else vectors

    def encode_request(self, request: EmbedRequest, *, show_progress: bool = False) -> EmbedResult:
        """The vectors of a request as `encode` makes them, together with what is known of them."""
        return self._run(request, show_progress=show_progress)

    async def encode_async(
        self,
        texts: str | Sequence[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        instruction: str | None = None,
        input_type: InputType | None = None,
        dimensions: int | None = None,
        normalize: bool = True,
        truncate: bool | None = None,
    ) -> np.ndarray:
        """As `encode`, without blocking the event loop. Cancelling it takes its texts out of the queue."""
        inputs = as_inputs(texts)
        request = EmbedRequest(inputs, prompt, prompt_name, instruction, input_type, dimensions, normalize, truncate)
        vectors = (await self._run_async(CheckedRequest(request, self._terms(request)))).vectors
        return vectors[0] if isinstance(texts, str) else vectors

    def check(self, request: EmbedRequest) -> CheckedRequest:
        """Resolve the request's prompt, and find what lowers the quality of its vectors. No text is looked at.

        Raises `InputError` for what cannot be served whatever the texts say, and for too many texts.
        """
        check_number(len(request.inputs), self._settings, "input")
        return CheckedRequest(request, self._terms(request))

    async def compute(self, checked: CheckedRequest) -> EmbedResult:
        """The vectors of a request that `check` returned. Cancelling takes its texts out of the queue.

        Raises what `encode` raises, `QueueFullError`, and `MemoryShortError` while no new work is taken.
        """
        self._check_memory()
        return await self._run_async(checked, limited=True)

    def embed(self, request: EmbedRequest) -> EmbedResult:
        """The vectors of one request of at most `max_texts_per_request` texts. Raises as `check` and `compute`."""
        self._admit(len(request.inputs), "input")
        return self._run(request, limited=True)

    async def embed_async(self, request: EmbedRequest) -> EmbedResult:
        """As `embed`, without blocking the event loop. Cancelling it takes its texts out of the queue."""
        return await self.compute(self.check(request))

    def tokenize(
        self, texts: Sequence[str], *, prompt_name: str | None = None, add_special_tokens: bool = True
    ) -> list[list[Token]]:
        """The tokens of each text as `encode` computes them, with the prompt, however long the text is.

        Raises `InputError` for what is not a text, for too many texts, and for a prompt that the model does not have.
        """
        self._admit(len(texts), "inputs")
        prefix = self._prefix(EmbedRequest(texts, prompt_name=prompt_name))
        cleaned = [prefix + clean_text(text, index, self._settings.max_text_chars) for index, text in enumerate(texts)]
        return list(self.tokenizer.tokens(cleaned, add_special_tokens=add_special_tokens))

    async def tokenize_async(
        self,
        texts: Sequence[str],
        write: Callable[[list[Token]], T],
        *,
        prompt_name: str | None = None,
        add_special_tokens: bool = True,
        lane: LaneName = "interactive",
    ) -> tuple[list[T], int]:
        """What `write` makes of each text's tokens, as `tokenize` gives them, and the number of tokens in all.

        Raises as `tokenize`, and `TooManyTokensError` for more than `max_listed_tokens`.
        """
        self._admit(len(texts), "inputs")
        prefix = self._prefix(EmbedRequest(texts, prompt_name=prompt_name))
        return await self._lists.tokens(texts, prefix, write, lane, add_special_tokens=add_special_tokens)

    def count_tokens(self, text: str) -> int:
        """The number of tokens of a text of any length, without special tokens and prompts."""
        return len(self.tokenizer.encode_prefix(text))

    def knows_a_word(self, text: str) -> bool:
        """Whether any token of a text, prompts and special tokens aside, stands for something in the vocabulary."""
        unknown = self.tokenizer.unknown
        return unknown is None or any(token != unknown for token in self.tokenizer.encode_prefix(text))

    def decode(self, ids: Sequence[Sequence[int]], *, skip_special_tokens: bool = True) -> list[str]:
        """The texts that token ids stand for. Raises `InputError` for ids that are not the model's, or too many."""
        self._admit(len(ids), "ids")
        return self.tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)

    async def decode_async(
        self, ids: Sequence[Sequence[int]], *, skip_special_tokens: bool = True, lane: LaneName = "interactive"
    ) -> tuple[list[str], int]:
        """As `decode`, with the number of ids in all.

        It also raises `TooManyTokensError`, for more than `max_listed_tokens`.
        """
        self._admit(len(ids), "ids")
        return await self._lists.texts(ids, lane, skip_special_tokens=skip_special_tokens)

    def _run(self, request: EmbedRequest, *, limited: bool = False, show_progress: bool = False) -> EmbedResult:
        terms = self._terms(request)
        collector = VectorCollector(request, terms.warnings, self.dimensions)
        pipeline, leaving = self._pipeline_for(request)
        pipeline.run(request, terms.prefix, collector, limited=limited, show_progress=show_progress)
        return self._finish(request, collector, leaving)

    async def _run_async(self, checked: CheckedRequest, *, limited: bool = False) -> EmbedResult:
        request, terms = checked.request, checked.terms
        collector = VectorCollector(request, terms.warnings, self.dimensions)
        pipeline, leaving = self._pipeline_for(request)
        await pipeline.run_async(request, terms.prefix, collector, limited=limited, is_clean=checked.is_clean)
        return self._finish(request, collector, leaving)

    def _terms(self, request: EmbedRequest) -> Terms:
        warnings = check_dimensions(request, self.dimensions, self._live.description.embedding)
        return Terms(self._prefix(request), warnings)

    def _pipeline_for(self, request: EmbedRequest) -> tuple[Pipeline, LeavingPreparer | None]:
        """The pipeline for a request, and the preparer that knows the inputs that are left out, where some may be."""
        if not (request.per_token or request.leaves_out) and request.max_tokens is None:
            return self._pipeline, None
        preparer = self._preparer.limited_to(request.max_tokens)
        longest = min(self.context_length, request.max_tokens or self.context_length)
        if request.per_token:
            bounded = BoundedPreparer(preparer, self._settings.max_token_vectors)
            return Pipeline(bounded, self._scheduler, self._pools, longest, per_token=True), None
        leaving = LeavingPreparer(preparer) if request.leaves_out else None
        return Pipeline(leaving or preparer, self._scheduler, self._pools, longest), leaving

    def _prefix(self, request: EmbedRequest) -> str:
        return prompt_prefix(request, self._live.description.embedding, self._settings.max_text_chars)

    def _finish(
        self, request: EmbedRequest, collector: VectorCollector, leaving: LeavingPreparer | None
    ) -> EmbedResult:
        space = self.space.of_vectors(request.dimensions or self.dimensions, normalized=request.normalize)
        if request.per_token:
            space = replace(space, pooling="none")
        if collector.fingerprint not in (None, space.fingerprint):
            space = replace(space, fingerprint=collector.fingerprint)
        result = collector.result(space)
        self._vocabulary.note(result.num_tokens - self.tokenizer.special.count * len(request.inputs), result.unknown)
        return result if leaving is None else replace(result, errors=leaving.errors)
