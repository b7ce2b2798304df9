"""Searches of a help centre whose questions are not asked in the words of its articles."""

from __future__ import annotations

from pathlib import Path

import pytest

from farthing import Embedder
from farthing.toolkit.evaluate.grid import evaluate
from farthing.toolkit.evaluate.retrieval import Search
from farthing.toolkit.evaluate.sets.find import find_sets
from farthing.toolkit.index.hybrid import Blend

DATA = Path(__file__).parents[4] / "benchmarks" / "data"
ONE_RANK = 0.01  # of one question of forty


@pytest.mark.parametrize("fusion", ["sum", "ranks"])
def test_words_and_vectors_are_no_worse_than_the_better_of_both(starter_dir: Path, fusion: str) -> None:
    words, vectors = Search(Blend(vector_weight=0.0)), Search(Blend(vector_weight=1.0))
    both = Search(Blend(fusion))  # type: ignore[arg-type]
    with Embedder(str(starter_dir)) as embedder:
        rows = evaluate(embedder, find_sets(DATA / "help_centre_en"), searches=[words, vectors, both])
    found = {row.search: row.figures["nDCG@10"] for row in rows}
    assert found[both.name] >= max(found[words.name], found[vectors.name]) - ONE_RANK
    assert found[both.name] > 0.8
