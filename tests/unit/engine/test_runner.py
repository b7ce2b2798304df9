from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from farthing.core.settings import EngineSettings
from farthing.engine.cards.model import TorchModel
from farthing.engine.runner import Runner, non_finite
from farthing.engine.weights.load import LoadedModel, load_model, load_weights
from farthing.models.batch.packed import pack
from farthing.models.forward import native_pass
from farthing.models.torch_pass.attention import attend_runs
from farthing.models.torch_pass.run import TorchPass
from farthing.models.torch_pass.start import Compute, LayerWeights, PassStart, TorchBatch
from farthing.quant.gpu.linears import DenseLinear
from farthing.quant.native.binding import NativeKernels

RNG = np.random.default_rng(2)
TEXTS = [RNG.integers(1, 90, size=length).tolist() for length in (9, 1, 4, 33, 4, 1, 17, 4)]
EVERY_FAMILY = pytest.mark.parametrize("loaded", ["qwen3", "bert"], indirect=True)


@pytest.fixture
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return load_model(request.getfixturevalue(request.param).path, EngineSettings(format="fp32", num_threads=1))


def pooled_by(loaded: LoadedModel, pooling: Any) -> LoadedModel:
    embedding = replace(loaded.embedding, pooling=pooling)
    return load_weights(replace(loaded.description, embedding=embedding))


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


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls to the native kernels that take a batch through layers, with the number of these."""
    calls: list[str] = []
    layers, run = NativeKernels.layers, NativeKernels.run

    def counted_layers(kernels: NativeKernels, shape: Any, weights: Sequence[Any], *rest: Any) -> None:
        calls.append(f"layers {len(weights)}")
        layers(kernels, shape, weights, *rest)

    def counted_run(kernels: NativeKernels, given: Any) -> np.ndarray:
        calls.append(f"run {len(given.layers.layers)}")
        return run(kernels, given)

    monkeypatch.setattr(NativeKernels, "layers", counted_layers)
    monkeypatch.setattr(NativeKernels, "run", counted_run)
    return calls


@pytest.mark.parametrize(
    ("family", "settings", "expected"),
    [
        *(("qwen3", {"format": name}, ["run 3"]) for name in ("int8", "fp32", "bf16")),
        *(("bert", {"format": name}, ["run 2"]) for name in ("int8", "fp32", "fp16")),
        ("quantised_qwen3", {"format": "int8", "residency": "disk"}, ["layers 1"] * 3),
        ("qwen3", {"format": "nf4"}, ["layers 1"] * 3),
        ("qwen3", {"format": "bf16", "residency": "disk"}, ["layers 1"] * 3),
    ],
    ids=str,
)
def test_a_short_batch_goes_all_the_way_in_one_call_where_its_layers_are_there_and_gives_the_same_bits(
    family: str,
    settings: dict[str, Any],
    expected: list[str],
    calls: list[str],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, settings = request.getfixturevalue(family).path, {"num_threads": 1, "share_prefixes": "off", **settings}
    rows = Runner(load_model(path, EngineSettings(**settings))).run(TEXTS).rows
    assert calls == expected
    calls.clear()
    monkeypatch.setattr(native_pass, "MOST_PRODUCTS", 0)
    assert np.array_equal(Runner(load_model(path, EngineSettings(**settings))).run(TEXTS).rows, rows)
    assert calls == ["layers 1"] * len(calls)


@EVERY_FAMILY
def test_the_same_batch_gives_the_same_bits(loaded: LoadedModel) -> None:
    runner = Runner(loaded)
    assert np.array_equal(runner.run(TEXTS).rows, runner.run(TEXTS).rows)


@EVERY_FAMILY
@pytest.mark.parametrize("chunk_tokens", [1, 5])
def test_the_feed_forward_part_may_be_cut_anywhere(loaded: LoadedModel, chunk_tokens: int) -> None:
    plan = replace(loaded.plan, device="torch-cpu", chunk_tokens=chunk_tokens)
    cut = load_weights(loaded.description.with_plan(plan))
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
def test_the_plans_threads_are_used(loaded: LoadedModel) -> None:
    for number in (1, 2):
        computing: Any = load_weights(loaded.description.with_plan(replace(loaded.plan, num_threads=number))).computing
        assert computing._kernels.num_threads == number


def test_rows_with_nan_or_inf_are_found() -> None:
    rows = np.zeros((5, 3), dtype=np.float32)
    rows[1, 2], rows[3, 0], rows[4, 1] = np.nan, np.inf, -np.inf
    assert non_finite(rows) == [1, 3, 4]
    assert non_finite(rows[[0, 2]]) == []
    assert non_finite(rows[[0, 3, 4]]) == [1, 2]  # infinite both ways, which has no sum
    assert non_finite(np.full((2, 3), 3e38, dtype=np.float32)) == []  # whose sum is infinite


@EVERY_FAMILY
def test_devices_that_share_the_layers_give_the_vectors_of_one(loaded: LoadedModel) -> None:
    one = replace(loaded.plan, device="torch-cpu")
    two = replace(one, others=("torch-cpu",))
    assert [device for device, layers in two.shares(loaded.spec.num_layers) if layers] == ["torch-cpu"] * 2
    found = [Runner(load_weights(loaded.description.with_plan(plan))).run(TEXTS).rows for plan in (one, two)]
    assert np.array_equal(*found)


@EVERY_FAMILY
def test_a_pass_takes_all_that_its_layers_need_along_to_another_device(loaded: LoadedModel) -> None:
    """The meta device mixes with no other: whatever stayed behind would fail the layer."""
    meta, batch = torch.device("meta"), TorchBatch.on(pack(TEXTS), torch.device("cpu"))
    model = load_weights(loaded.description.with_plan(replace(loaded.plan, device="torch-cpu"))).computing
    assert isinstance(model, TorchModel)

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, batch: TorchBatch, causal: bool) -> torch.Tensor:
        assert batch.cu_seqlens.device == batch.positions.device == q.device
        return attend_runs(q, k, v, batch, causal)

    compute = Compute(torch.float32, torch.float32, chunk_tokens=8, attend=attend)
    forward = TorchPass(PassStart(loaded.spec, model._gather, batch, model._on_device, compute))
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
    forward.layer(weights, batch.packed.last_rows())
    assert forward._hidden.device == meta
    assert forward._hidden.shape == (len(TEXTS), loaded.spec.hidden)
