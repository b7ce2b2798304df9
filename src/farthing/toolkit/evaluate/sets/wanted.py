"""What is read of the sets that are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from farthing.toolkit.records.skipped import STRICT, Skipped


@dataclass(frozen=True)
class Wanted:
    """
    Attributes:
        pairs: of languages: of the queries and of the corpus, or of both sides of translations; none for each language
            with itself, and all translations. Sets without languages are read whatever they are.
        max_queries: of each retrieval set, the first ones; None for all.
        skipped: is told of records that cannot be read; by default the first of them is an error.
    """

    pairs: Sequence[tuple[str, str]] = ()
    max_queries: int | None = None
    skipped: Skipped = field(default_factory=lambda: STRICT)
