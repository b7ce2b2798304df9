from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from farthing.core.settings import EngineSettings
from farthing.engine.weights.load import load_model
from farthing.serving.quantising.closeness import (
    BATCH_TOKENS,
    NUM_NEIGHBOURS,
    batches,
    compare,
    measure_closeness,
    sample_groups,
    sample_texts,
    split_sample,
    tokenized,
)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_equal_vectors_are_as_close_as_can_be() -> None:
    vectors = unit(np.random.default_rng(0).standard_normal((30, 8)))
    found = compare(vectors, vectors)
    assert found.cosine_mean == pytest.approx(1)
    assert found.cosine_min == pytest.approx(1)
    assert (found.neighbours_kept, found.num_texts) == (1.0, 30)


def test_unrelated_vectors_keep_neighbours_by_chance_only() -> None:
    rng = np.random.default_rng(0)
    found = compare(unit(rng.standard_normal((500, 64))), unit(rng.standard_normal((500, 64))))
    assert abs(found.cosine_mean) < 0.05
    assert found.cosine_min < 0
    assert found.neighbours_kept == pytest.approx(NUM_NEIGHBOURS / 499, abs=0.01)


def test_one_text_that_moved_shows_in_the_least_cosine() -> None:
    vectors = unit(np.random.default_rng(0).standard_normal((30, 8)))
    moved = vectors.copy()
    moved[3] = -moved[3]
    assert compare(vectors, moved).cosine_min == pytest.approx(-1)


def test_no_text_of_the_sample_is_there_twice() -> None:
    texts = sample_texts()
    assert len(texts) == len(set(texts)) > 200
    assert all(text.strip() for text in texts)


def test_the_samples_two_parts_are_all_of_its_short_texts_and_share_no_sentence() -> None:
    groups = sample_groups()
    num_short = sum(map(len, groups))
    for_one, for_other = (part[: -len(groups)] for part in split_sample())
    assert sorted(for_one + for_other) == sorted(sample_texts()[:num_short])
    one, other = (" ".join(part) for part in split_sample())
    assert not any(text in other for text in for_one if len(text) > 20)  # words alone may be in a sentence too
    assert not any(text in one for text in for_other if len(text) > 20)
    places = {text: place for group in groups for place, text in enumerate(group)}  # the same place says the same
    assert not {places[text] for text in for_one} & {places[text] for text in for_other}


def test_batches_hold_every_text_in_order_within_the_budget() -> None:
    texts = [[index] * length for index, length in enumerate((1000, 3000, 200, BATCH_TOKENS + 5, 7))]
    made = list(batches(texts))
    assert [text for batch in made for text in batch] == texts
    assert all(sum(map(len, batch)) <= BATCH_TOKENS or len(batch) == 1 for batch in made)


def test_int8_of_a_tiny_model_is_close_but_not_the_same(tiny_qwen3: Path) -> None:
    few = sample_texts()[::20]
    found = measure_closeness(tiny_qwen3, load_model(tiny_qwen3, EngineSettings(format="int8")), few)
    assert found.num_texts == len(few)
    assert 0.998 < found.cosine_mean < 0.999999


def test_sample_is_cut_to_the_models_context(tiny_qwen3: Path) -> None:
    model = load_model(tiny_qwen3, EngineSettings(context_length=20))
    texts = tokenized(model, sample_texts())
    assert max(map(len, texts)) == 20
    assert {text[-1] for text in texts} == {151643}


def test_long_texts_are_cut_where_tokens_are_few(tiny_qwen3: Path) -> None:
    model = load_model(tiny_qwen3, EngineSettings())
    whole, cut = tokenized(model, sample_texts()), tokenized(model, sample_texts(), 3000)
    longest = max(map(len, cut))
    assert len(cut) == len(whole)
    assert 3000 - len(cut) < sum(map(len, cut)) <= 3000
    for ids, short in zip(whole, cut, strict=True):
        assert short == (ids if len(ids) <= longest else [*ids[: longest - 1], ids[-1]])
    assert tokenized(model, ["a", "b c"], 1) == [[ids[-1]] for ids in tokenized(model, ["a", "b c"])]
