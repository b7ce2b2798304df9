"""What is read of the sets that are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Wanted:
    """
    Attributes:
        pairs: of languages: of the queries and of the corpus, or of both sides of translations; none for each language
            with itself, and all translations. Sets without languages are read whatever they are.
        max_queries: of each retrieval set, the first ones; None for all.
    """

    pairs: Sequence[tuple[str, str]] = ()
    max_queries: int | None = None
