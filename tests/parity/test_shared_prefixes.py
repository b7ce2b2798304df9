"""Texts that share their beginnings: computed once or each in full, the vectors are the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference import assert_same_vectors
from transformers import AutoModel

from farthing.core.settings import EngineSettings
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model

RNG = np.random.default_rng(11)
Texts = list[list[int]]


def tokens(count: int) -> list[int]:
    return RNG.integers(0, 150_000, size=count).tolist()


INSTRUCTION, PROMPT, LONG = tokens(24), tokens(60), tokens(700)
QUERY = tokens(12)
NASTY: dict[str, Texts] = {
    "queries": [[*INSTRUCTION, *tokens(length)] for length in (8, 9, 9, 12, 16)],
    "documents of one query": [[*PROMPT, *QUERY, *tokens(length), *PROMPT[:9]] for length in (30, 30, 90, 110)],
    "documents of two queries": [
        [*PROMPT, *query, *tokens(length)] for query in (QUERY, tokens(9)) for length in (20, 20, 50)
    ],
    "one text begins another": [INSTRUCTION, [*INSTRUCTION, *QUERY], [*INSTRUCTION, *QUERY, *PROMPT], tokens(5)],
    "all identical": [PROMPT] * 5,
    "identical but for the last token": [[*LONG, last] for last in range(4)],
    "beginning longer than most texts": [*([*LONG, *tokens(3)] for _ in range(2)), *(tokens(7) for _ in range(4))],
    "texts of one token": [[1], [1], [2], [*PROMPT]],
    "nothing shared": [tokens(length) for length in (3, 40, 40, 200)],
    "a chain": [LONG[:length] for length in range(10, 200, 10)],
    "long rests": [[*INSTRUCTION, *tokens(300)] for _ in range(3)],
}
EVERY_BATCH = pytest.mark.parametrize("name", NASTY)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def runner(path: Path, share: str, **settings: Any) -> Runner:
    return Runner(load_model(path, EngineSettings(share_prefixes=share, **{"format": "fp32", **settings})))


def rows(of: Runner, texts: Sequence[Sequence[int]]) -> np.ndarray:
    output = of.run(texts)
    assert not output.errors
    return unit(output.rows)


@pytest.fixture(scope="module")
def sharing(tiny_qwen3: Path) -> Runner:
    """One for all tests, so that some beginnings are held from earlier batches."""
    return runner(tiny_qwen3, "on")


@EVERY_BATCH
def test_vectors_are_those_of_transformers(tiny_qwen3: Path, sharing: Runner, name: str) -> None:
    model = AutoModel.from_pretrained(tiny_qwen3, dtype=torch.float32)
    with torch.inference_mode():
        found = [model(torch.tensor([text])).last_hidden_state[0, -1].numpy() for text in NASTY[name]]
    for _ in range(3):  # the second time beginnings come back, the third time they are held
        assert_same_vectors(rows(sharing, NASTY[name]), unit(np.stack(found)))


def test_shared_tokens_are_not_computed_again(tiny_qwen3: Path) -> None:
    shares = runner(tiny_qwen3, "on")
    queries = NASTY["queries"]
    whole, own = sum(map(len, queries)), sum(map(len, queries)) - len(INSTRUCTION) * len(queries)
    assert sum(runner(tiny_qwen3, "off").run(queries).computed) == whole
    assert sum(shares.run(queries).computed) == own + len(INSTRUCTION)
    assert sum(shares.run([[*INSTRUCTION, 1], [*INSTRUCTION, 2]]).computed) == 2 + len(INSTRUCTION)
    assert sum(shares.run([[*INSTRUCTION, 3], [*INSTRUCTION, 4]]).computed) == 2


@EVERY_BATCH
@pytest.mark.parametrize("settings", [{"format": "bf16"}, {"residency": "disk"}, {"format": "fp8"}])
def test_other_formats_and_residencies(tiny_qwen3: Path, settings: dict[str, str], name: str) -> None:
    shares, plain = (rows(runner(tiny_qwen3, share, **settings), NASTY[name]) for share in ("on", "off"))
    assert_same_vectors(shares, plain)


@EVERY_BATCH
@pytest.mark.parametrize("format_name", ["int8", "nf4"])
def test_native_kernels(tiny_qwen3: Path, format_name: str, name: str) -> None:
    shares, plain = (runner(tiny_qwen3, share, format=format_name) for share in ("on", "off"))
    want = rows(plain, NASTY[name])
    for _ in range(3):
        cosines = (rows(shares, NASTY[name]) * want).sum(1)
        assert cosines.min() > 0.9995  # attention sums bf16 products in another order


def test_a_text_does_not_depend_on_who_shared_a_batch_with_it(tiny_qwen3: Path, sharing: Runner) -> None:
    texts = [text for batch in NASTY.values() for text in batch]
    want = np.concatenate([rows(runner(tiny_qwen3, "off"), [text]) for text in texts])
    for _ in range(4):
        picked = RNG.permutation(len(texts))
        found = np.concatenate([rows(sharing, [texts[i] for i in part]) for part in np.array_split(picked, 5)])
        assert_same_vectors(found, want[picked])


def test_other_poolings_share_nothing(tiny_qwen3: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_qwen3, tmp_path / "mean")
    pooling = next((tmp_path / "mean").glob("*_Pooling")) / "config.json"
    pooling.write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    shares, plain = (runner(tmp_path / "mean", share) for share in ("on", "off"))
    for batch in NASTY.values():
        assert shares.run(batch).computed == plain.run(batch).computed
        assert_same_vectors(rows(shares, batch), rows(plain, batch))
