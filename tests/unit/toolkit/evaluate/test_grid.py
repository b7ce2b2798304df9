from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from farthing import Embedder
from farthing.core.errors import DimensionsError
from farthing.toolkit.evaluate.grid import evaluate
from farthing.toolkit.evaluate.retrieval import Search
from farthing.toolkit.evaluate.sets.find import find_sets
from farthing.toolkit.index.hybrid import Blend


def test_every_set_has_a_row_for_every_setting(
    retrieval_dir: Path, pairs_dir: Path, labels_dir: Path, translation_dir: Path, starter: Embedder
) -> None:
    sets = find_sets(retrieval_dir.parent)
    rows = evaluate(starter, sets, dimensions=[384, 96], searches=[Search(), Search(Blend("sum", 0.0))])
    assert [(row.set, row.dimensions, row.search) for row in rows if row.kind in ("retrieval", "labels")] == [
        *(("birds", length, way) for length in (384, 96) for way in ("vectors", "words")),
        ("kinds", 384, None),
        ("kinds", 96, None),
    ]
    by_vectors, by_words = rows[2:4]
    assert by_vectors.main_figure > 0.9
    assert by_words.query_ms == by_words.search_ms
    assert by_vectors.query_ms == pytest.approx(by_vectors.one_text_ms + (by_vectors.search_ms or 0))
    assert {row.vector_bytes for row in rows} == {384 * 4, 96 * 4}
    figures = {row.kind: row.figures for row in rows}
    assert figures["similarity"]["Spearman"] == pytest.approx(1)
    assert figures["labels"]["kNN accuracy"] == 1
    assert 0 < figures["translation"]["top-1 mean"] <= 1


def test_vectors_are_cut_and_scaled_again(pairs_dir: Path, starter: Embedder) -> None:
    (row,) = evaluate(starter, find_sets(pairs_dir), dimensions=[7])
    texts = [["a bird", "a bird", "a coin"], ["a small bird", "the train", "a penny"]]
    first, second = (starter.encode(side, dimensions=7) for side in texts)
    cosines = np.einsum("ij,ij->i", first, second)
    assert row.figures["Pearson"] == pytest.approx(np.corrcoef(cosines, [4.5, 0, 3])[0, 1], abs=1e-4)


def test_more_dimensions_than_there_are_are_refused_before_anything_is_embedded(
    pairs_dir: Path, starter: Embedder
) -> None:
    before = starter.stats()
    with pytest.raises(DimensionsError, match="dimensions is 385; this model has 1 to 384"):
        evaluate(starter, find_sets(pairs_dir), dimensions=[128, 385])
    assert starter.stats() == before
