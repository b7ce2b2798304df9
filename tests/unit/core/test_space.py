from __future__ import annotations

from dataclasses import replace

import pytest

from farthing.core.space import VectorSpace

SPACE = VectorSpace("starter", "0123456789abcdef", "mean", 384, True)


def test_the_id_is_the_same_in_every_process_and_version() -> None:
    # Files that were written earlier carry this id: it may only change when what it stands for changes.
    assert SPACE.id == "73402807809cd7bc"


def test_the_name_a_model_was_asked_for_by_does_not_count() -> None:
    assert replace(SPACE, model="sentence-transformers/all-MiniLM-L6-v2").id == SPACE.id


@pytest.mark.parametrize(
    "change", [{"fingerprint": "0123456789abcdee"}, {"pooling": "cls"}, {"dimensions": 383}, {"normalized": False}]
)
def test_whatever_makes_vectors_incomparable_changes_the_id(change: dict[str, object]) -> None:
    assert replace(SPACE, **change).id != SPACE.id
