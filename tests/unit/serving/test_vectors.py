from __future__ import annotations

import numpy as np
import pytest

from farthing.core.errors import DimensionsError
from farthing.models.families.bert import BertFamily
from farthing.models.families.qwen3 import EMBEDDING
from farthing.models.spec import EmbeddingSpec
from farthing.serving.request import EmbedRequest
from farthing.serving.vectors import check_dimensions, finish_vectors


def test_vectors_are_cut_first_then_normalised() -> None:
    rows = np.array([[3.0, 4.0, 12.0]], dtype=np.float32)
    assert finish_vectors(rows, 2, normalize=True) == pytest.approx(np.array([[0.6, 0.8]]))
    assert finish_vectors(rows, 2, normalize=False).tolist() == [[3.0, 4.0]]


def test_a_row_of_zeros_stays_zeros() -> None:
    assert finish_vectors(np.zeros((1, 4), np.float32), 4, normalize=True).tolist() == [[0.0] * 4]


@pytest.mark.parametrize("asked", [0, -1, 1025])
def test_dimensions_out_of_range_are_refused(asked: int) -> None:
    with pytest.raises(DimensionsError, match=f"dimensions is {asked}; this model has 1 to 1024"):
        check_dimensions(EmbedRequest(["x"], dimensions=asked), 1024, EMBEDDING)


def test_warnings_below_the_matryoshka_minimum_and_for_models_not_trained_to_be_cut() -> None:
    def warnings(asked: int, spec: EmbeddingSpec) -> tuple[str, ...]:
        return check_dimensions(EmbedRequest(["x"], dimensions=asked), 1024, spec)

    bert = BertFamily().fallback({})
    assert warnings(32, EMBEDDING) == ()
    assert warnings(1024, bert) == ()
    assert "below the 32" in warnings(31, EMBEDDING)[0]
    assert "not trained to be cut" in warnings(512, bert)[0]
