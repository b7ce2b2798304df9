"""A model on other servers that scores pairs.

In: requests as `farthing.serving.reranker` takes them. Out: the same results. Rerank APIs take one query a request, so
pairs are sent by query, in parts of `upstream_batch_texts` documents.

The APIs answer with scores from 0 to 1, or with logits: `upstream_scores` says which, since numbers alone do not. They
do not say which documents they cut, and most of them not how many tokens there were, so tokens are estimated from
characters.

There are two shapes of body (Cohere, Jina, vLLM, Infinity: `documents`; text-embeddings-inference: `texts`) and two
places (/v1/rerank, /rerank). They are tried in turn the first time a server is asked. An answer's bytes are read into
checked scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import orjson

from farthing.core.errors import EmptyInputError, UnknownPromptError, UpstreamInputError
from farthing.serving.request import (
    Ranked,
    RerankRequest,
    RerankResult,
    check_number,
    check_top_n,
    rank_request,
)
from farthing.serving.text.clean import clean_named
from farthing.upstream.answer import AttemptFailedError, scores_limit
from farthing.upstream.chunks import CHARS_PER_TOKEN
from farthing.upstream.client import UpstreamClient, at
from farthing.upstream.served import UpstreamModel, gather_bounded

PROBE_QUERY = "What is the capital of China?"
PROBE_DOCUMENTS = ("The capital of China is Beijing.", "Gravity is a force that attracts two bodies to each other.")
MAX_DIFFERENCE = 0.05  # between the scores, from 0 to 1, of upstreams of one model
EPSILON = 1e-7  # scores closer than this to 0 and 1 have no finite logit in float32
FIELDS = ("documents", "texts")


class RerankRoute:
    """Where one server takes pairs, and in which shape, once `find` has found out."""

    def __init__(self, client: UpstreamClient) -> None:
        self._client = client
        self._url: httpx.URL | None = None
        self._field = ""

    async def find(self, model: str, query: str, documents: Sequence[str]) -> np.ndarray:
        """The scores of `documents`, by the first place and shape that answers. Raises as `ask`."""
        client, failure = self._client, AttemptFailedError("has no rerank API")
        routes = [(at(client.base, "rerank"), "documents"), *((at(client.root, "rerank"), f) for f in FIELDS)]
        for self._url, self._field in routes:
            try:
                return await self.ask(model, query, documents)
            except AttemptFailedError as error:
                if error.is_gone:
                    raise
                failure = error
            except UpstreamInputError as error:
                failure = AttemptFailedError("refused the probe", detail=str(error))
        raise failure

    async def ask(self, model: str, query: str, documents: Sequence[str]) -> np.ndarray:
        """The scores, float32 [documents], in the order of the documents. Raises as `UpstreamClient.post`."""
        assert self._url is not None, "the route is found before it is used"
        body: dict[str, object] = {"model": model, "query": query, self._field: documents}
        if self._field == "documents":
            body |= {"top_n": len(documents), "return_documents": False}
        answer = await self._client.post(self._url, body, scores_limit(documents))
        return read_scores(answer.content, len(documents))


def read_scores(content: bytes, num_documents: int) -> np.ndarray:
    """Read the scores of an answer, in the order of the documents.

    Raises:
        AttemptFailedError: the answer is not one finite score a document.
    """
    try:
        answer = orjson.loads(content)
        results = answer["results"] if isinstance(answer, dict) else answer
        found = {int(item["index"]): float(item.get("relevance_score", item.get("score"))) for item in results}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise AttemptFailedError("answered something that is no list of scores") from error
    if sorted(found) != list(range(num_documents)) or len(results) != num_documents:
        raise AttemptFailedError(f"answered {len(results)} scores for {num_documents} documents")
    scores = np.array([found[index] for index in range(num_documents)], dtype=np.float64)
    if not np.isfinite(scores).all() or np.abs(scores).max(initial=0) > np.finfo(np.float32).max:
        raise AttemptFailedError("answered a score that is NaN or Inf")
    return scores


def logits_of(scores: np.ndarray) -> np.ndarray:
    """The float32 logits whose sigmoid the float64 scores are. Raises `AttemptFailedError` outside 0 to 1."""
    if scores.size and (scores.min() < 0 or scores.max() > 1):
        raise AttemptFailedError("answered scores outside 0 to 1; if they are logits, set upstream_scores to logit")
    clipped = np.clip(scores, EPSILON, 1 - EPSILON)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), dtype=np.float32)


class UpstreamReranker(UpstreamModel):
    """A model on other servers that scores pairs, ready. The arguments are those of `UpstreamModel`."""

    task = "rerank"

    def __init__(self, *args: Any, **others: Any) -> None:
        self._routes: dict[str, RerankRoute] = {}  # by the upstream's name
        self._reference: np.ndarray | None = None  # scores of the probe, as the first upstream made them
        super().__init__(*args, **others)

    async def _admit(self, client: UpstreamClient) -> None:
        route = RerankRoute(client)
        logits = self._logits(await route.find(self.upstream_model, PROBE_QUERY, PROBE_DOCUMENTS))
        scores = RerankResult(logits, 0, 0).scores
        if self._context_length is None:
            self._context_length = await client.max_tokens(self.upstream_model)
        if self._reference is None:
            self._reference = scores
        difference = float(np.abs(scores - self._reference).max())
        if difference > MAX_DIFFERENCE:
            raise AttemptFailedError(
                f"scores otherwise than the first upstream, by {difference:.3f} where {MAX_DIFFERENCE} is allowed. Do "
                "both serve the same model?"
            )
        self._routes[client.name] = route

    def rank(
        self, query: str, documents: Sequence[str], *, top_n: int | None = None, instruction: str | None = None
    ) -> list[Ranked]:
        """Any number of documents, best first, or only the `top_n` best of them. It blocks, so it is not for an event
        loop. Raises as `rerank_async`.
        """
        check_top_n(top_n)
        request = rank_request(query, documents, instruction)
        self._check(request)
        return self._loop.run(self._tracked(self._rerank(request))).ranking(top_n)

    async def rerank_async(self, request: RerankRequest) -> RerankResult:
        """The scores of one request. Cancelling it takes back what is not computed yet.

        Raises as `UpstreamEmbedder.embed_async`.
        """
        self._check(request)
        check_number(len(request.inputs), self._serving, "documents")
        return await self._on_own_loop(self._rerank(request), len(request.inputs))

    def _check(self, request: RerankRequest) -> None:
        if not request.inputs:
            raise EmptyInputError("There are no documents; send at least one.", param="documents")
        if request.instruction is not None:
            raise UnknownPromptError(
                "This model runs on another server, which has no common way to take an instruction; leave it out, or "
                "put it before the query.",
                param="instruction",
            )

    async def _rerank(self, request: RerankRequest) -> RerankResult:
        by_query: dict[str, list[int]] = {}
        documents = []
        for index, (query, document) in enumerate(request.inputs):
            by_query.setdefault(
                clean_named(query, f"The query of document {index}", "query", self._serving.max_text_chars), []
            ).append(index)
            documents.append(
                clean_named(document, f"Document {index}", f"documents[{index}]", self._serving.max_text_chars)
            )
        size = self._settings.upstream_batch_texts
        parts = [
            (query, places[start : start + size])
            for query, places in by_query.items()
            for start in range(0, len(places), size)
        ]
        found = await gather_bounded([self._ask(query, [documents[place] for place in part]) for query, part in parts])
        logits = np.empty(len(documents), dtype=np.float32)
        for (_, part), values in zip(parts, found, strict=True):
            logits[part] = values
        num_chars = sum(len(query) + len(document) for query, document in request.inputs)
        num_tokens = -(-num_chars // CHARS_PER_TOKEN)
        self._stats.add(tokens_total=num_tokens, computed_tokens_total=num_tokens)
        return RerankResult(logits, num_tokens, num_tokens)

    async def _ask(self, query: str, documents: Sequence[str]) -> np.ndarray:
        async def call(client: UpstreamClient) -> np.ndarray:
            return self._logits(await self._routes[client.name].ask(self.upstream_model, query, documents))

        weight = sum(map(len, documents)) + len(documents) * len(query)
        return await self._call(call, weight, len(documents))

    def _logits(self, scores: np.ndarray) -> np.ndarray:
        return logits_of(scores) if self._settings.upstream_scores == "probability" else scores.astype(np.float32)
