"""A result of a search."""

from __future__ import annotations

from typing import Any

from farthing.core.deferred import dataclass
from farthing.toolkit.index.excerpt import Excerpt
from farthing.toolkit.stores.passage import Passage


@dataclass(frozen=True)
class SearchResult:
    """
    Attributes:
        score: the score that decides the order: the reranker's, else the fused one, the cosine, or BM25's.
        cosine, bm25, relevance: parts of the score, None where they were not asked for; relevance is the reranker's, 0
            to 1.
        excerpt: the part of the passage to show, with the matching words.
    """

    passage: Passage
    score: float
    cosine: float | None
    bm25: float | None
    relevance: float | None
    excerpt: Excerpt

    def to_dict(self) -> dict[str, Any]:
        """The result as a dict, for JSON."""
        passage = self.passage
        return {
            "id": passage.id,
            "document": passage.document,
            "score": self.score,
            "cosine": self.cosine,
            "bm25": self.bm25,
            "relevance": self.relevance,
            "title": passage.title,
            "heading": passage.heading,
            "source": passage.source,
            "text": passage.text,
            "start": passage.start,
            "end": passage.end,
            "metadata": dict(passage.metadata),
            "excerpt": self.excerpt.text,
            "marks": [list(mark) for mark in self.excerpt.marks],
        }
