"""Qwen3 on packed token ids against transformers' Qwen3Model in fp32."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import assert_same_vectors
from texts import SAMPLES
from transformers import AutoModel

from farthing import Embedder
from farthing.core.settings import EngineSettings
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model
from farthing.models.synth.checkpoint import find_shape, write_synthetic

END = 151643
RNG = np.random.default_rng(7)


def random_texts(lengths: Sequence[int]) -> list[list[int]]:
    return [[*RNG.integers(0, 150_000, size=length - 1).tolist(), END] for length in lengths]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def reference(path: Path, texts: Sequence[Sequence[int]]) -> np.ndarray:
    model = AutoModel.from_pretrained(path, dtype=torch.float32)
    with torch.inference_mode():
        return unit(np.stack([model(torch.tensor([text])).last_hidden_state[0, -1].numpy() for text in texts]))


def packed(path: Path, texts: Sequence[Sequence[int]], **settings: object) -> np.ndarray:
    output = Runner(load_model(path, EngineSettings(**{"format": "fp32", **settings}))).run(texts)
    assert not output.errors
    return unit(output.rows)


def test_mixed_lengths_from_one_token_up(tiny_qwen3: Path) -> None:
    texts = random_texts([1, 1, 2, 3, 17, 64, 64, 64, 200, 513, 1025])
    assert_same_vectors(packed(tiny_qwen3, texts), reference(tiny_qwen3, texts))


def test_text_of_8192_tokens_beside_a_short_one(tiny_qwen3: Path) -> None:
    texts = random_texts([8192, 5])
    assert_same_vectors(packed(tiny_qwen3, texts), reference(tiny_qwen3, texts))


def test_channels_that_dwarf_the_others(tmp_path: Path) -> None:
    write_synthetic(find_shape("qwen3-tiny"), tmp_path / "outliers", outliers=True)
    texts = random_texts([5, 40, 300])
    assert_same_vectors(packed(tmp_path / "outliers", texts), reference(tmp_path / "outliers", texts))


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_half_precision_weights_are_computed_as_stored(tiny_qwen3: Path, name: str) -> None:
    texts = random_texts([3, 30, 300])  # the checkpoint is stored in bf16: bf16 loses nothing, fp16 next to nothing
    assert_same_vectors(packed(tiny_qwen3, texts, format=name), reference(tiny_qwen3, texts))


def test_causal_lm_prefix_of_names_is_understood(tmp_path: Path) -> None:
    write_synthetic(replace(find_shape("qwen3-reranker-tiny"), num_layers=2), tmp_path / "causal")
    texts = random_texts([5, 40])
    assert_same_vectors(packed(tmp_path / "causal", texts), reference(tmp_path / "causal", texts))


@pytest.fixture(
    params=[{"is_causal": False}, {"use_bidirectional_attention": True}], ids=lambda stated: next(iter(stated))
)
def both_ways(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A Qwen3 whose tokens attend to those after them too."""
    write_synthetic(find_shape("qwen3-tiny"), tmp_path / "both-ways")
    file = tmp_path / "both-ways" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | request.param))
    return tmp_path / "both-ways"


def reference_both_ways(path: Path, texts: Sequence[Sequence[int]]) -> np.ndarray:
    """transformers, with a mask that hides nothing."""
    model = AutoModel.from_pretrained(path, dtype=torch.float32)
    with torch.inference_mode():
        rows = [
            model(torch.tensor([text]), attention_mask=torch.zeros(1, 1, len(text), len(text))).last_hidden_state[0, -1]
            for text in texts
        ]
    return unit(torch.stack(rows).numpy())


def test_tokens_see_what_follows_them_where_the_config_says_so(both_ways: Path, tiny_qwen3: Path) -> None:
    texts = random_texts([1, 2, 17, 64, 64, 300])
    want = reference_both_ways(both_ways, texts)
    assert_same_vectors(packed(both_ways, texts), want)
    assert (packed(both_ways, texts, format="int8") * want).sum(axis=1).min() > 0.99
    assert (packed(tiny_qwen3, texts) * want).sum(axis=1)[1:].max() < 0.99, "the same weights, causally"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_true_shape_of_the_0_6b(tmp_path: Path) -> None:
    write_synthetic(find_shape("qwen3-0.6b"), tmp_path / "qwen3-0.6b")
    texts = random_texts([1, 12, 128, 512, 8192])
    assert_same_vectors(packed(tmp_path / "qwen3-0.6b", texts), reference(tmp_path / "qwen3-0.6b", texts))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_true_shape_of_the_0_6b_through_the_embedder(tmp_path: Path) -> None:
    from reference import reference_vectors

    write_synthetic(find_shape("qwen3-0.6b"), tmp_path / "qwen3-0.6b")
    with Embedder(str(tmp_path / "qwen3-0.6b")) as embedder:
        assert_same_vectors(embedder.encode(SAMPLES), reference_vectors(tmp_path / "qwen3-0.6b", SAMPLES))


def test_published_scores_with_real_weights() -> None:
    """The two queries and two documents of the model card (https://huggingface.co/Qwen/Qwen3-Embedding-0.6B)."""
    folder = os.environ.get("FARTHING_QWEN3_DIR")
    if not folder:
        pytest.skip("set FARTHING_QWEN3_DIR to a folder that holds Qwen3-Embedding-0.6B")
    documents = [
        "The capital of China is Beijing.",
        "Gravity is a force that attracts two bodies towards each other. It gives weight to physical objects and is "
        "responsible for the movement of planets around the sun.",
    ]
    with Embedder(folder, format="fp32") as embedder:
        queries = embedder.encode(["What is the capital of China?", "Explain gravity"], input_type="query")
        scores = queries @ embedder.encode(documents, input_type="document").T
    assert scores == pytest.approx(np.array([[0.7646, 0.1414], [0.1355, 0.6000]]), abs=2e-3)
