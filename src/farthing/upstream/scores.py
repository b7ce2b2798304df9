"""Rerank APIs as their client sees them: a query and documents to a body, an answer's bytes to checked scores.

There are two shapes (Cohere, Jina, vLLM, Infinity: `documents`; text-embeddings-inference: `texts`) and two places
(/v1/rerank, /rerank), tried in turn the first time a server is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import numpy as np
import orjson

from farthing.core.errors import UpstreamInputError
from farthing.upstream.answer import scores_limit
from farthing.upstream.attempt import AttemptFailedError
from farthing.upstream.client import UpstreamClient, at

EPSILON = 1e-7  # scores closer to 0 and 1 have no finite logit in float32


class RerankRoute:
    """Where and how one server takes pairs, once `find` has found out."""

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
        """float32 [documents], in their order. Raises as `UpstreamClient.post`."""
        assert self._url is not None, "the route is found before it is used"
        body: dict[str, object] = {"model": model, "query": query, self._field: documents}
        if self._field == "documents":
            body |= {"top_n": len(documents), "return_documents": False}
        answer = await self._client.post(self._url, body, scores_limit(documents))
        return read_scores(answer.content, len(documents))


FIELDS = ("documents", "texts")


def read_scores(content: bytes, num_documents: int) -> np.ndarray:
    """
    Raises:
        AttemptFailedError: it is not one finite score a document.
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
    """float64 scores from 0 to 1 -> float32 logits, whose sigmoid they are. Raises `AttemptFailedError` outside."""
    if scores.size and (scores.min() < 0 or scores.max() > 1):
        raise AttemptFailedError("answered scores outside 0 to 1; if they are logits, set upstream_scores to logit")
    clipped = np.clip(scores, EPSILON, 1 - EPSILON)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), dtype=np.float32)
