from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from farthing.core.settings import EngineSettings
from farthing.engine.runner import Runner, non_finite
from farthing.engine.weights.load import LoadedModel, load_model, load_weights
from farthing.models.batch.packed import PackedBatch, pack
from farthing.models.forward import native_pass
from farthing.models.forward.attention import attend_runs
from farthing.models.forward.forward_pass import Compute, LayerWeights, PassStart
from farthing.models.forward.native_pass import pass_of
from farthing.quant.dense import DenseLinear
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.team import native_kernels

RNG = np.random.default_rng(2)
TEXTS = [RNG.integers(1, 90, size=length).tolist() for length in (9, 1, 4, 33, 4, 1, 17, 4)]
EVERY_FAMILY = pytest.mark.parametrize("loaded", ["qwen3", "bert"], indirect=True)


@pytest.fixture
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return load_model(request.getfixturevalue(request.param).path, EngineSettings(format="fp32", num_threads=1))


def pooled_by(loaded: LoadedModel, pooling: Any) -> LoadedModel:
    embedding = replace(loaded.embedding, pooling=pooling)
    return replace(loaded, description=replace(loaded.description, embedding=embedding))


def planned(loaded: LoadedModel, **changes: Any) -> LoadedModel:
    plan = replace(loaded.plan, **changes)
    return replace(loaded, description=replace(loaded.description, plan=plan))


@EVERY_FAMILY
def test_rows_come_in_the_callers_order(loaded: LoadedModel) -> None:
    runner = Runner(loaded)
    alone = np.concatenate([runner.run([text]).rows for text in TEXTS])
    assert alone.shape == (len(TEXTS), loaded.spec.hidden)
    assert len(np.unique(alone.round(3), axis=0)) == len(TEXTS)
    for order in (range(len(TEXTS)), reversed(range(len(TEXTS))), RNG.permutation(len(TEXTS))):
        picked = list(order)
        output = runner.run([TEXTS[index] for index in picked])
        assert output.rows.dtype == np.float32
        assert output.rows == pytest.approx(alone[picked], abs=1e-4)
        assert (output.errors, output.num_recomputed) == ({}, 0)


@pytest.mark.parametrize("form", ["fp32", "int8"])
def test_torch_has_as_many_threads_after_a_batch_as_before(qwen3: Any, form: str) -> None:
    runner, before = Runner(load_model(qwen3.path, EngineSettings(format=form, num_threads=1))), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        runner.run(TEXTS)
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of layers in each call to the native kernels."""
    calls: list[int] = []
    layers = NativeKernels.layers

    def counted(kernels: NativeKernels, shape: Any, weights: Sequence[Any], *rest: Any) -> None:
        calls.append(len(weights))
        layers(kernels, shape, weights, *rest)

    monkeypatch.setattr(NativeKernels, "layers", counted)
    return calls


@pytest.mark.skipif(native_kernels() is None, reason="the native kernels were not built (no C++ compiler)")
@pytest.mark.parametrize(
    ("family", "settings", "in_one_call"),
    [
        # Of the last token's row alone the last layer computes all, so that it is a call of its own.
        ("qwen3", {"format": "int8"}, [2, 1]),
        ("native_bert", {"format": "int8"}, [2]),
        ("quantised_qwen3", {"format": "int8", "residency": "disk"}, [1, 1, 1]),
        ("qwen3", {"format": "nf4"}, [1, 1, 1]),
    ],
    ids=str,
)
def test_a_short_batch_takes_the_layers_that_are_there_in_one_call_and_gives_the_same_bits(
    family: str,
    settings: dict[str, Any],
    in_one_call: list[int],
    calls: list[int],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = load_model(
        request.getfixturevalue(family).path, EngineSettings(num_threads=1, share_prefixes="off", **settings)
    )
    rows = Runner(loaded).run(TEXTS).rows
    assert calls == in_one_call
    calls.clear()
    monkeypatch.setattr(native_pass, "MOST_PRODUCTS", 0)
    assert np.array_equal(Runner(loaded).run(TEXTS).rows, rows)
    assert calls == [1] * sum(in_one_call)


@EVERY_FAMILY
def test_the_same_batch_gives_the_same_bits(loaded: LoadedModel) -> None:
    runner = Runner(loaded)
    assert np.array_equal(runner.run(TEXTS).rows, runner.run(TEXTS).rows)


@EVERY_FAMILY
@pytest.mark.parametrize("chunk_tokens", [1, 5])
def test_the_feed_forward_part_may_be_cut_anywhere(loaded: LoadedModel, chunk_tokens: int) -> None:
    cut = planned(loaded, chunk_tokens=chunk_tokens)
    assert Runner(cut).run(TEXTS).rows == pytest.approx(Runner(loaded).run(TEXTS).rows, abs=1e-4)


@pytest.mark.parametrize(
    ("loaded", "pooling"),
    [("qwen3", "last"), ("qwen3", "mean"), ("bert", "cls"), ("bert", "mean"), ("bert", "last")],
    indirect=["loaded"],
)
def test_of_one_token_every_pooling_is_the_same_and_of_more_it_is_not(loaded: LoadedModel, pooling: Any) -> None:
    single, longer = Runner(pooled_by(loaded, pooling)).run([[7], [7, 8, 9]]).rows
    assert single == pytest.approx(Runner(loaded).run([[7]]).rows[0], abs=1e-4)
    assert not np.allclose(single, longer, atol=1e-2)


def test_a_causal_models_first_token_sees_nothing_of_the_rest(qwen3: Any) -> None:
    loaded = load_model(qwen3.path, EngineSettings(format="fp32", num_threads=1))
    rows = Runner(pooled_by(loaded, "cls")).run([[7], [7, 8, 9]]).rows
    assert rows[0] == pytest.approx(rows[1], abs=1e-4)


def test_a_row_that_fails_in_fp32_is_an_error_and_not_counted_as_computed_again(qwen3: Any) -> None:
    tensors = qwen3.tensors
    tensors["embed_tokens.weight"][50] = torch.nan
    output = Runner(load_model(qwen3.save(tensors), EngineSettings(format="fp32", num_threads=1))).run(
        [[1, 2], [50, 2, 3], [4]]
    )
    assert list(output.errors) == [1]
    assert "a text of 3 tokens, in fp32 too" in str(output.errors[1])
    assert output.num_recomputed == 0
    assert np.isfinite(output.rows[[0, 2]]).all()


@EVERY_FAMILY
def test_the_plans_threads_are_used(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    real, used = Runner._forward, list[int]()

    def forward(runner: Runner, *args: Any) -> np.ndarray:
        used.append(torch.get_num_threads())
        return real(runner, *args)

    monkeypatch.setattr(Runner, "_forward", forward)
    for number in (1, 2):
        Runner(planned(loaded, num_threads=number)).run([[1, 2]])
    assert used == [1, 2]


def test_rows_with_nan_or_inf_are_found() -> None:
    rows = np.zeros((5, 3), dtype=np.float32)
    rows[1, 2], rows[3, 0], rows[4, 1] = np.nan, np.inf, -np.inf
    assert non_finite(rows) == [1, 3, 4]
    assert non_finite(rows[[0, 2]]) == []
    assert non_finite(rows[[0, 3, 4]]) == [1, 2]  # infinite both ways, which has no sum
    assert non_finite(np.full((2, 3), 3e38, dtype=np.float32)) == []  # whose sum is infinite


@EVERY_FAMILY
def test_devices_that_share_the_layers_give_the_vectors_of_one(loaded: LoadedModel) -> None:
    shared = planned(loaded, others=("cpu",))
    assert [device for device, layers in shared.plan.shares(loaded.spec.num_layers) if layers] == ["cpu", "cpu"]
    again = load_weights(shared.description)
    assert np.array_equal(Runner(again).run(TEXTS).rows, Runner(loaded).run(TEXTS).rows)


@EVERY_FAMILY
def test_a_pass_takes_all_that_its_layers_need_along_to_another_device(loaded: LoadedModel) -> None:
    """The meta device mixes with no other: whatever stayed behind would fail the layer."""
    meta, batch = torch.device("meta"), pack(TEXTS, torch.device("cpu"))

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, packed: PackedBatch, causal: bool) -> torch.Tensor:
        assert packed.cu_seqlens.device == packed.positions.device == q.device
        return attend_runs(q, k, v, packed, causal)

    compute = Compute(torch.float32, torch.float32, chunk_tokens=8, attend=attend)
    start = PassStart(loaded.spec, loaded.store.gather, batch, loaded.store.shared, compute)
    forward = pass_of(loaded.spec, None)(start)
    layout = loaded.description.layout
    matrices = {
        part.name: DenseLinear(
            torch.empty(part.shape.out_features, part.in_features, device=meta),
            torch.empty(part.shape.out_features, device=meta) if part.bias else None,
        )
        for part in layout.matrices
    }
    weights = LayerWeights(matrices, {part.name: torch.empty(part.shape, device=meta) for part in layout.vectors})
    forward.move_to(meta)
    forward.layer(weights, None)
    forward.layer(weights, batch.last_rows())
    assert forward._hidden.device == meta  # type: ignore[attr-defined]
    assert forward._hidden.shape == (len(TEXTS), loaded.spec.hidden)  # type: ignore[attr-defined]
