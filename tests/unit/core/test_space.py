from __future__ import annotations

from dataclasses import replace

import pytest

from farthing.core.space import ELSEWHERE, VectorSpace, elsewhere_fingerprint

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


def test_a_farthing_elsewhere_that_tells_of_which_space_its_vectors_are_is_known_by_it() -> None:
    told = VectorSpace("starter", elsewhere_fingerprint(SPACE.id, 384), ELSEWHERE, 384, True)
    assert told.fingerprint == "upstream-d7aa809f3da8917d"  # indexes that were written earlier carry it
    assert SPACE.is_what_tells(told)
    assert replace(SPACE, dimensions=64).is_what_tells(told)
    for other in (
        replace(SPACE, fingerprint="0123456789abcdef-int8"),
        replace(SPACE, normalized=False),
        replace(SPACE, pooling="cls"),
    ):
        assert not other.is_what_tells(told)
    assert not SPACE.is_what_tells(replace(told, fingerprint=elsewhere_fingerprint("starter", 384)))
    assert not SPACE.is_what_tells(replace(told, pooling="mean"))
    assert not SPACE.is_what_tells(SPACE)
