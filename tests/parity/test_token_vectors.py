"""A vector of every token: transformers' last hidden states, in any company."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from farthing.core.settings import EngineSettings
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model

RNG = np.random.default_rng(5)
Texts = list[list[int]]


def tokens(count: int) -> list[int]:
    return RNG.integers(5, 500, size=count).tolist()


BEGINNING = tokens(40)
TEXTS: Texts = [
    *(tokens(length) for length in (1, 2, 9, 9, 100)),
    *([*BEGINNING, *tokens(length)] for length in (3, 3, 30)),
    BEGINNING,
    [*BEGINNING, 7],
    BEGINNING,
]


def open_runner(path: Path, **settings: object) -> Runner:
    return Runner(load_model(path, EngineSettings(**{"format": "fp32", **settings})))


def rows(runner: Runner, texts: Sequence[Sequence[int]]) -> list[np.ndarray]:
    output = runner.run(texts, per_token=True)
    assert not output.errors
    assert [len(found) for found in output.rows] == list(map(len, texts))
    return list(output.rows)


def reference(path: Path, texts: Texts) -> list[np.ndarray]:
    model = AutoModel.from_pretrained(path, dtype=torch.float32).eval()
    with torch.inference_mode():
        return [model(torch.tensor([text])).last_hidden_state[0].numpy() for text in texts]


def assert_same(got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> None:
    for found, wanted in zip(got, want, strict=True):
        assert found.dtype == np.float32
        assert float(np.abs(found - wanted).max()) <= 1e-4 * float(np.abs(wanted).max())


def cosines(got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> np.ndarray:
    one, other = (np.concatenate(list(each)) for each in (got, want))
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


@pytest.mark.parametrize("settings", [{}, {"share_prefixes": "off"}, {"residency": "disk"}])
def test_they_are_the_last_hidden_states_of_transformers(model: Path, settings: dict[str, str]) -> None:
    assert_same(rows(open_runner(model, **settings), TEXTS), reference(model, TEXTS))


def test_a_text_alone_has_the_vectors_that_it_has_in_a_batch(model: Path) -> None:
    runner = open_runner(model)
    assert_same(rows(runner, TEXTS), [rows(runner, [text])[0] for text in TEXTS])


def test_beginnings_held_for_pooled_texts_change_nothing(model: Path) -> None:
    runner, plain = open_runner(model), open_runner(model)
    for _ in range(3):  # the second time a beginning comes back, the third time it is held
        pooled = runner.run(TEXTS).rows
        assert_same(rows(runner, TEXTS), reference(model, TEXTS))
        assert np.array_equal(pooled, plain.run(TEXTS).rows)


def test_what_texts_share_is_computed_once(model: Path) -> None:
    shares = open_runner(model, share_prefixes="on")
    is_causal = shares.run([[*BEGINNING, 1], [*BEGINNING, 2]]).computed == (41, 1)
    assert shares.run([[*BEGINNING, 1], [*BEGINNING, 2]], per_token=True).computed == (41, 1 if is_causal else 41)
    assert shares.run([BEGINNING] * 3, per_token=True).computed == (40, 0, 0)


def test_the_last_norm_may_be_taken_in_parts(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from farthing.engine.plan import choose

    monkeypatch.setattr(choose, "CPU_CHUNK_TOKENS", 7)
    assert_same(rows(open_runner(model, device="torch-cpu"), TEXTS), reference(model, TEXTS))


@pytest.mark.parametrize("device", ["cpu", "torch-cpu"])
def test_int8_stays_close(model: Path, device: str) -> None:
    rounded = open_runner(model, format="int8", device=device)
    found = rows(rounded, TEXTS)
    assert cosines(found, reference(model, TEXTS)).mean() > 0.998
    pooled = [text[-1] if rounded._model.embedding.pooling == "last" else text.mean(0) for text in found]
    assert cosines([np.stack(pooled)], [rounded.run(TEXTS).rows]).min() > 0.9995


def test_a_token_of_nan_fails_its_text_alone(model: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(model / "model.safetensors")
    (table,) = (name for name in tensors if name.endswith(("embed_tokens.weight", "word_embeddings.weight")))
    tensors[table][3] = torch.nan
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    output = open_runner(model, format="bf16").run([[5, 6], [6, 3, 7], [8]], per_token=True)
    assert list(output.errors) == [1]
    assert all(np.isfinite(output.rows[index]).all() for index in (0, 2))
