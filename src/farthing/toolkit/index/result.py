"""What a search answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from farthing.toolkit.index.excerpt import Excerpt
from farthing.toolkit.stores.passage import Passage


@dataclass(frozen=True)
class SearchResult:
    """
    Attributes:
        score: what the order is by: the reranker's score, else the fused one, the cosine, or BM25's.
        cosine, bm25, relevance: parts of it, None where they were not asked for; relevance is the reranker's, 0 to 1.
        excerpt: of the passage, with the matching words.
    """

    passage: Passage
    score: float
    cosine: float | None
    bm25: float | None
    relevance: float | None
    excerpt: Excerpt

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
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
