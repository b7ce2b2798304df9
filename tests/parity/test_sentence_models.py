"""Whole models against sentence-transformers: the same files, the same texts, the same vectors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from reference import assert_same_vectors, reference_vectors
from texts import SAMPLES

from farthing import Embedder

MODELS = ["starter_dir", "e5_dir", "tiny_qwen3"]


@pytest.fixture(scope="module", params=MODELS)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def embedder(path: Path) -> Iterator[Embedder]:
    with Embedder(str(path), format="fp32", truncate=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def batched(embedder: Embedder) -> np.ndarray:
    return embedder.encode(SAMPLES)


def test_batch_equals_the_reference(path: Path, batched: np.ndarray) -> None:
    assert_same_vectors(batched, reference_vectors(path, SAMPLES))


def test_text_alone_equals_the_text_in_a_batch(embedder: Embedder, batched: np.ndarray) -> None:
    alone = np.stack([embedder.encode(text) for text in SAMPLES])
    assert_same_vectors(alone, batched, cosine=0.999999)


def test_text_keeps_its_vector_in_any_company(embedder: Embedder, batched: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        picked = rng.choice(len(SAMPLES), size=40)
        assert_same_vectors(embedder.encode([SAMPLES[i] for i in picked]), batched[picked], cosine=0.999999)


def test_prompt_goes_before_the_text(path: Path, embedder: Embedder) -> None:
    got = embedder.encode(SAMPLES[:3], prompt="query: ")
    assert_same_vectors(got, reference_vectors(path, SAMPLES[:3], prompt="query: "))


def test_starter_gives_the_published_similarities(starter_dir: Path) -> None:
    with Embedder(str(starter_dir), format="fp32") as embedder:
        vectors = embedder.encode(SAMPLES[:3])
    similarities = vectors @ vectors.T
    got = [similarities[0, 1], similarities[0, 2], similarities[1, 2]]
    assert got == pytest.approx([0.6660, 0.1046, 0.1411], abs=5e-4)


def test_text_over_the_context_is_cut_as_the_reference_cuts_it(starter_dir: Path) -> None:
    long = "The quick brown fox jumps over the lazy dog. " * 60
    with Embedder(str(starter_dir), format="fp32", truncate=True) as embedder:
        assert_same_vectors(embedder.encode([long]), reference_vectors(starter_dir, [long]))
