"""The public face of cross-encoders: a loaded model that says how well documents answer a query.

In: a query and documents, or pairs of texts. Out: scores from 0 to 1, the sigmoid of the model's logits. A request
takes the same way through `farthing.serving.pipeline` as an embedder's; each pair is one text there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from farthing.core.errors import EmptyInputError, UnknownPromptError
from farthing.serving.collector import Collector
from farthing.serving.local_model import ServedModel
from farthing.serving.pipeline import Pipeline
from farthing.serving.request import Pair, Ranked, RerankRequest, RerankResult, check_top_n, rank_request
from farthing.serving.text.pairs import PairPreparer, pair_template
from farthing.serving.text.prompts import check_prompt
from farthing.serving.text.tokenizer import TextTokenizer


class Reranker(ServedModel):
    """A model that scores pairs of texts, loaded and ready.

    Args:
        model: a local folder, a Hugging Face id, or `modelscope:ID`, of a Qwen3-Reranker or a BERT-type cross-encoder.
        settings: any of the settings in docs/settings.md that concern the model, engine or queue, by name.

    Raises:
        ModelError: the model cannot be found or used; `WrongTaskError` when it makes vectors.
        SettingsError: a setting is unknown or out of range.
    """

    task = "rerank"

    def _prepare_with(self, tokenizer: TextTokenizer) -> None:
        description = self._live.description
        assert description.head is not None, "a model opened for scoring has a head"
        self._template = pair_template(tokenizer, description.head.prompt, description.spec)
        self._preparer = PairPreparer(self._template, self.plan.context_length, self._settings)

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        top_n: int | None = None,
        instruction: str | None = None,
        truncate: bool | None = None,
    ) -> list[Ranked]:
        """The `top_n` documents that answer the query best, or all of them without it, in order.

        Raises:
            InputError: a text or an argument cannot be served as it is.
            EngineError, ServingError: the computation failed.
        """
        check_top_n(top_n)
        return self._run(rank_request(query, documents, instruction, truncate)).ranking(top_n)

    async def rank_async(
        self,
        query: str,
        documents: Sequence[str],
        *,
        top_n: int | None = None,
        instruction: str | None = None,
        truncate: bool | None = None,
    ) -> list[Ranked]:
        """As `rank`, without blocking the event loop. Cancelling it takes its pairs out of the queue."""
        check_top_n(top_n)
        return (await self._run_async(rank_request(query, documents, instruction, truncate))).ranking(top_n)

    def score(
        self,
        pairs: Sequence[Pair],
        *,
        instruction: str | None = None,
        truncate: bool | None = None,
        raw_scores: bool = False,
    ) -> np.ndarray:
        """The scores of pairs (query, document): float32 [pairs], from 0 to 1, or with `raw_scores` logits.

        Raises as `rank`.
        """
        result = self._run(RerankRequest(list(pairs), instruction, truncate))
        return result.logits if raw_scores else result.scores

    async def score_async(
        self,
        pairs: Sequence[Pair],
        *,
        instruction: str | None = None,
        truncate: bool | None = None,
        raw_scores: bool = False,
    ) -> np.ndarray:
        """As `score`, without blocking the event loop. Cancelling it takes its pairs out of the queue."""
        result = await self._run_async(RerankRequest(list(pairs), instruction, truncate))
        return result.logits if raw_scores else result.scores

    async def rerank_async(self, request: RerankRequest) -> RerankResult:
        """The scores of one request of at most `max_texts_per_request` pairs.

        Raises what `rank` raises, `QueueFullError`, and `MemoryShortError` while no new work is taken.
        """
        self._admit(len(request.inputs), "documents")
        return await self._run_async(request, limited=True)

    def _run(self, request: RerankRequest) -> RerankResult:
        collector = Collector(len(request.inputs), 1)
        self._pipeline(request).run(request, self._instruction(request), collector)
        return result_of(collector)

    async def _run_async(self, request: RerankRequest, *, limited: bool = False) -> RerankResult:
        collector = Collector(len(request.inputs), 1)
        await self._pipeline(request).run_async(request, self._instruction(request), collector, limited=limited)
        return result_of(collector)

    def _pipeline(self, request: RerankRequest) -> Pipeline:
        """The pipeline for one request. Raises `InputError` for numbers of tokens that leave no room."""
        preparer = self._preparer.for_request(request.max_tokens, request.max_document_tokens)
        longest = min(self.context_length, request.max_tokens or self.context_length)
        return Pipeline(preparer, self._scheduler, self._pools, longest, run_here=self._run_here)

    def _instruction(self, request: RerankRequest) -> str:
        """The instruction for the request's pairs; empty where the model takes none.

        Raises:
            EmptyInputError: there are no pairs.
            UnknownPromptError: the model takes no instruction.
            TextTooLargeError: the instruction has too many characters.
        """
        if not request.inputs:
            raise EmptyInputError("There are no documents; send at least one.", param="documents")
        default = self._template.instruction
        if default is None and request.instruction is not None:
            raise UnknownPromptError("This model was not trained with instructions; leave it out.", param="instruction")
        if request.instruction is not None:
            check_prompt(request.instruction, "instruction", self._settings.max_text_chars)
            return request.instruction
        return default or ""


def result_of(collector: Collector) -> RerankResult:
    return RerankResult(
        collector.rows[:, 0],
        collector.num_tokens,
        collector.num_computed_tokens,
        collector.truncated,
        collector.timings,
    )
