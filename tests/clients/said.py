"""What each of these programs says: a line of JSON for every way in which it asked the server at the given URL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
QUERY = "which bird?"
DOCUMENTS = ["a wren", "yes", "no bird at all"]


def say_vectors(way: str, vectors: Sequence[Sequence[float]]) -> None:
    print(json.dumps({"way": way, "vectors": [list(map(float, vector)) for vector in vectors]}), flush=True)


def say_ranking(way: str, ranking: Sequence[tuple[Any, float]]) -> None:
    """Documents by their indices or texts, with their scores, the best first."""
    indices = [item if isinstance(item, int) else DOCUMENTS.index(item) for item, _ in ranking]
    scores = [float(score) for _, score in ranking]
    print(json.dumps({"way": way, "ranking": indices, "scores": scores}), flush=True)
