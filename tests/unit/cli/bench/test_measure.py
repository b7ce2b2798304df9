from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from farthing.cli.bench.measure import MeasuredEngine, Task, load_engine, make_batches, run_rounds
from farthing.cli.bench.result import matrix_operations
from farthing.core.errors import MeasurementError, NonFiniteError
from farthing.core.settings import EngineSettings
from farthing.engine.describe import describe_model
from farthing.models.synth.checkpoint import find_shape, write_synthetic
from farthing.serving.queue.token_counter import TokenCounter


def fresh(num_batches: int) -> Callable[[int], list[list[list[int]]]]:
    """Batches of one text of 4 tokens, others in every round."""
    return lambda number: [[[10 * (number + 1) + batch] * 4] for batch in range(num_batches)]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Loading sets the threads of the whole process; the next test gets them back as they were."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def load(path: Path, weight_format: str = "fp32", **settings: str) -> MeasuredEngine:
    chosen = EngineSettings(device="cpu", format=weight_format, **settings)  # type: ignore[arg-type]
    return load_engine(partial(describe_model, path, chosen), [1] * 4)


def test_texts_are_cut_into_batches_by_the_token_budget() -> None:
    texts = [[place] * length for place, length in enumerate((60, 30, 20, 150, 40, 50))]
    assert make_batches(texts, 100, TokenCounter) == [texts[:2], texts[2:5:2], texts[3:4], texts[5:]]


def test_the_first_vector_comes_after_loading(tiny_qwen3: Path) -> None:
    engine = load(tiny_qwen3)
    assert 0 < engine.load_s < engine.first_vector_s
    assert engine.kernels is not None


def test_workloads_take_turns_and_each_has_its_own_number_of_rounds(tiny_qwen3: Path) -> None:
    often, once = Task("often", fresh(2), rounds=3), Task("once", fresh(1), rounds=1)
    order: list[Task] = []
    peaks = run_rounds(load(tiny_qwen3), [often, once], order.append).peaks  # one a round
    assert [task is often for task in order] == [True, False, True, True]
    assert (len(often.seconds), len(once.seconds), len(peaks)) == (3, 1, 3)
    assert often.lengths == [4, 4]


def test_the_int8_peak_is_taken_once_a_round(tiny_qwen3: Path) -> None:
    engine = load(tiny_qwen3, "int8")
    if engine.kernels is None:
        pytest.skip("the native kernels were not built (no C++ compiler)")
    assert len(run_rounds(engine, [Task("short", fresh(1), rounds=2)], id).peaks) == 2


def test_texts_that_come_again_are_an_error_where_nothing_is_to_be_shared(tiny_qwen3: Path) -> None:
    texts = np.random.default_rng(0).integers(0, 1000, (2, 64)).tolist()
    again = Task("again", lambda _: [texts], rounds=4)
    engine = load(tiny_qwen3, share_prefixes="on")
    with pytest.raises(MeasurementError, match=r"again: .* tokens were computed of 128 that were sent"):
        run_rounds(engine, [again], id)
    run_rounds(engine, [replace(again, shares=True)], id)


def test_a_model_that_gives_no_vectors_is_not_timed(tmp_path: Path) -> None:
    write_synthetic(find_shape("tiny"), tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    tensors["norm.weight"] = tensors["norm.weight"] * torch.nan
    save_file(tensors, file)
    with pytest.raises(NonFiniteError):
        load(tmp_path)


def test_operations_are_those_of_the_rows_that_the_vectors_need(tiny_qwen3: Path, starter_dir: Path) -> None:
    # Hidden 64, 4 layers, heads of 32 (4 of queries, 2 of keys), inner width 192.
    queries, keys_values, output, gate_up, down = 64 * 128, 64 * 128, 128 * 64, 64 * 384, 192 * 64
    layer = queries + keys_values + output + gate_up + down
    last = 8 * keys_values + 2 * (layer - keys_values)
    assert matrix_operations(load(tiny_qwen3).model, [3, 5]) == 2 * (3 * 8 * layer + last)
    # MiniLM: the mean looks at all rows of its 6 layers.
    assert matrix_operations(load(starter_dir).model, [3, 5]) == 2 * 8 * 6 * (4 * 384 * 384 + 2 * 384 * 1536)
