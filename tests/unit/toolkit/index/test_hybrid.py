from __future__ import annotations

import numpy as np
import pytest

from farthing.core.errors import InputError
from farthing.toolkit.index.hybrid import Blend, Weights, by_both, by_vector, by_words, fuse_ranks, fuse_scores
from farthing.toolkit.index.words import Asked, Segmenter
from farthing.toolkit.stores.lance.store import LanceStore
from farthing.toolkit.stores.passage import Passage

COSINES = {"a": 0.9, "b": 0.5, "c": 0.1}
BM25 = {"c": 8.0, "b": 4.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LanceStore:
    """Two hundred passages, each with a direction and a word (w7) of its own; every tenth has "tenth" too."""
    opened = LanceStore(tmp_path_factory.mktemp("store"), 256)
    words = [f"w{number}" + " tenth" * (number % 10 == 0) for number in range(200)]
    passages = [Passage(str(number), str(number), "1", text) for number, text in enumerate(words)]
    opened.put(passages, words, np.eye(256, dtype=np.float32)[:200])
    opened.build()
    return opened


def asked(*words: str) -> Asked:
    return Asked(list(words), list(words))


def toward(*weights: tuple[int, float]) -> np.ndarray:
    vector = np.zeros(256, dtype=np.float32)
    for number, weight in weights:
        vector[number] = weight
    return vector / np.linalg.norm(vector)


def test_each_kind_of_search_has_its_own_order(store: LanceStore) -> None:
    vector = toward((3, 0.8), (5, 0.6))
    assert [hit.passage.id for hit in by_vector(store, vector, 2)] == ["3", "5"]
    assert [hit.cosine for hit in by_vector(store, vector, 2)] == pytest.approx([0.8, 0.6], abs=1e-6)
    hit = by_words(store, ["w7"], 2)[0]
    assert (hit.passage.id, hit.cosine, hit.score) == ("7", None, hit.bm25)


def test_what_both_find_comes_first(store: LanceStore) -> None:
    vector = toward((3, 0.8), (10, 0.6))
    hits = by_both(store, vector, asked("tenth"), 3)
    assert hits[0].passage.id == "10"
    assert hits[1].passage.id == "3"
    assert hits[1].bm25 == 0.0
    assert hits[2].bm25 is not None
    assert hits[2].bm25 > 0


@pytest.mark.parametrize("fusion", ["sum", "ranks"])
def test_a_passage_that_only_its_words_find_has_its_true_cosine(store: LanceStore, fusion: str) -> None:
    vector = toward(*((number, 1.0) for number in range(150)), (160, 0.5))
    hits = by_both(store, vector, asked("w160"), 200, blend=Blend(fusion, 0.1))  # type: ignore[arg-type]
    found = next(hit for hit in hits if hit.passage.id == "160")
    assert found.cosine == pytest.approx(float(vector[160]), abs=1e-6)
    assert hits[0] is found


def test_all_the_weight_on_one_side_is_that_side_alone(store: LanceStore) -> None:
    vector = toward((3, 0.8), (10, 0.6))
    assert by_both(store, vector, asked("tenth"), 1, blend=Blend(vector_weight=1.0))[0].passage.id == "3"
    best = by_both(store, vector, asked("w7"), 1, blend=Blend(vector_weight=0.0))[0]
    assert (best.passage.id, best.score) == ("7", 1.0)


def test_words_that_nothing_has_leave_the_order_by_meaning(store: LanceStore) -> None:
    vector = toward((3, 0.8), (5, 0.6))
    assert [hit.passage.id for hit in by_both(store, vector, asked("nowhere"), 2)] == ["3", "5"]


def test_scores_are_brought_to_one_scale_and_weighed() -> None:
    fused = fuse_scores(COSINES, BM25, Weights(0.6, 0.4))
    assert fused == pytest.approx({"a": 0.6, "b": 0.3 + 0.2, "c": 0.4})


def test_ranks_count_whatever_the_scores_are() -> None:
    fused = fuse_ranks(COSINES, BM25, Weights(0.5, 0.5))
    assert fused == pytest.approx({"a": 0.5 / 61, "b": 0.5 / 62 + 0.5 / 62, "c": 0.5 / 63 + 0.5 / 61})


def test_equal_scores_and_nothing_at_all_are_no_division_by_zero() -> None:
    assert fuse_scores({"a": 0.5, "b": 0.5}, {}, Weights(0.6, 0.4)) == {"a": 0.6, "b": 0.6}
    assert fuse_scores({}, {}, Weights(0.6, 0.4)) == {}


@pytest.mark.parametrize(("fusion", "weight", "param"), [("sum", 1.5, "vector_weight"), ("max", 0.5, "fusion")])
def test_a_blend_out_of_range_is_refused(fusion: str, weight: float, param: str) -> None:
    with pytest.raises(InputError) as caught:
        Blend(fusion, weight)  # type: ignore[arg-type]
    assert caught.value.param == param


HELP = {
    "returns": "Returns: unworn items can go back within 30 days; print the label and drop the parcel off.",
    "damaged": "Damaged: send us a photo; we will send a replacement. How the parcel was handled does not matter.",
    "limits": "API limits: how many requests you may send, and what to do when you hit them.",
    "phone": "Lost phone: something you know, like a recovery code, brings you back in.",
}


@pytest.fixture(scope="module")
def help_centre(tmp_path_factory: pytest.TempPathFactory) -> LanceStore:
    """Four articles, each with a direction of its own."""
    opened, segmenter = LanceStore(tmp_path_factory.mktemp("help"), 4), Segmenter()
    passages = [Passage(name, name, "1", text) for name, text in HELP.items()]
    opened.put(passages, [" ".join(segmenter.words(text)) for text in HELP.values()], np.eye(4, dtype=np.float32))
    opened.build()
    return opened


@pytest.mark.parametrize("fusion", ["sum", "ranks"])
def test_a_chatty_question_is_answered_by_its_meaning(help_centre: LanceStore, fusion: str) -> None:
    """Its words stand in articles that do not answer it, the best of which has one in five."""
    vector = toward((0, 0.8), (2, 0.5), (1, 0.3))[:4]
    question = Segmenter().asked("how do I send something back")
    hits = by_both(help_centre, vector, question, 4, blend=Blend(fusion))  # type: ignore[arg-type]
    assert [hit.passage.id for hit in hits] == ["returns", "limits", "damaged", "phone"]


@pytest.mark.parametrize("fusion", ["sum", "ranks"])
def test_a_question_in_the_words_of_the_answer_is_answered_by_them(help_centre: LanceStore, fusion: str) -> None:
    vector = toward((0, 0.6), (1, 0.55), (3, 0.5))[:4]
    question = Segmenter().asked("recovery code for a lost phone")
    hits = by_both(help_centre, vector, question, 1, blend=Blend(fusion))  # type: ignore[arg-type]
    assert hits[0].passage.id == "phone"


def test_a_fused_score_stays_between_nothing_and_one(help_centre: LanceStore) -> None:
    vector = toward((0, 1.0))[:4]
    for question in ("how do I send something back", "print the label", "zebra", "parcel"):
        scores = [hit.score for hit in by_both(help_centre, vector, Segmenter().asked(question), 4)]
        assert max(scores) <= 1.0 + 1e-9
        assert min(scores) >= 0.0
    only_words = by_both(help_centre, vector, Segmenter().asked("something"), 1, blend=Blend(vector_weight=0.0))[0]
    assert (only_words.passage.id, only_words.score) == ("phone", 1.0)
