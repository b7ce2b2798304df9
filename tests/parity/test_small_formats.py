"""nf4 and fp8 against transformers on the weights that are stored, so that only the computation differs.

Stored weights are treated (gains folded in, inputs and outputs rotated); here that is undone after they were unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import assert_same_vectors
from transformers import AutoModel, PreTrainedModel

from farthing.core.settings import EngineSettings
from farthing.engine.describe import ModelDescription, describe_model
from farthing.engine.runner import Runner
from farthing.engine.weights.convert import ConvertedTensors, rotates_inputs
from farthing.engine.weights.load import load_model
from farthing.models.families import bert
from farthing.models.forward.rotation import Rotation
from farthing.models.layout import MatrixPart
from farthing.quant import fp8, nf4_packed
from farthing.quant.rotation import rotate

TEXTS = [[*np.random.default_rng(n).integers(0, 400, n).tolist(), 7] for n in (0, 1, 5, 40, 40, 100)]
UNPACK = {"nf4": nf4_packed.unpack, "fp8": fp8.unpack}


@pytest.fixture(autouse=True)
def _no_sensitive_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every matrix is in the format itself; those that are left to int8 round rows, as test_int8 holds."""
    monkeypatch.setattr(bert, "is_small", lambda _: False)


def vectors(path: Path, name: str, device: str = "cpu") -> np.ndarray:
    output = Runner(load_model(path, EngineSettings(format=name, device=device))).run(TEXTS)
    assert not output.errors
    return unit(output.rows)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def reference(path: Path, name: str) -> np.ndarray:
    model, description = (
        AutoModel.from_pretrained(path, dtype=torch.float32),
        describe_model(path, EngineSettings(format=name)),
    )
    assert not model.load_state_dict(dict(stored_weights(description)), strict=False).unexpected_keys
    return unit(np.stack([pooled(model, text, description.embedding.pooling) for text in TEXTS]))


def pooled(model: PreTrainedModel, text: list[int], pooling: str) -> np.ndarray:
    with torch.inference_mode():
        hidden = model(torch.tensor([text])).last_hidden_state[0]
    return (hidden.mean(0) if pooling == "mean" else hidden[-1]).numpy()


def stored_weights(description: ModelDescription) -> Iterator[tuple[str, torch.Tensor]]:
    """Under their names in transformers, with norm gains of one where they were folded in."""
    tensors, layout, form = ConvertedTensors(description), description.layout, description.plan.format
    for layer in range(layout.num_layers):
        prefix = layout.prefix(layer)
        for part in layout.matrices:
            weight = np.empty((part.shape.out_features, part.in_features), dtype=np.float32)
            UNPACK[form.name](tensors.packed(layer, part)["packed"], weight)
            if rotates_inputs(form, part):
                weight = rotate(weight)  # its own inverse
            for stem, rows in zip(part.sources, np.split(weight, np.cumsum(part.out_features)[:-1]), strict=True):
                yield f"{prefix}{stem}.weight", torch.from_numpy(untreated(rows, stem, part, description).copy())
        vectors = tensors.vectors(layer)
        yield from ((prefix + vector.source, torch.from_numpy(vectors[vector.name])) for vector in layout.vectors)


def untreated(weight: np.ndarray, stem: str, part: MatrixPart, description: ModelDescription) -> np.ndarray:
    rotation, values = description.rotation, description.layout.values
    if rotation is not None and part.residual == "reads":
        weight = back(weight, rotation)
    if rotation is not None and part.residual == "writes":
        weight = back(weight.T, rotation).T
    if values is not None and stem == values.source:
        weight = back(weight.T, Rotation(values.width)).T
    if values is not None and part.name == values.reader:
        weight = back(weight, Rotation(values.width))
    return weight


def back(weight: np.ndarray, rotation: Rotation) -> np.ndarray:
    return rotation.inverse(weight.reshape(-1, rotation.width)).reshape(weight.shape)


@pytest.mark.parametrize(("name", "device"), [("nf4", "torch-cpu"), ("fp8", "torch-cpu"), ("fp8", "cpu")])
def test_vectors_are_transformers_own_with_the_stored_weights(model: Path, name: str, device: str) -> None:
    assert_same_vectors(vectors(model, name, device), reference(model, name))


def test_native_nf4_is_as_close_to_the_stored_weights_as_int8_is_to_the_exact_ones(model: Path) -> None:
    cosines = (vectors(model, "nf4") * reference(model, "nf4")).sum(1)
    assert cosines.min() > 0.998
    assert cosines.max() < 0.999999  # rows are rounded: it is another computation


@pytest.mark.parametrize(("name", "least"), [("nf4", 0.9), ("fp8", 0.99)])
def test_vectors_stay_close_to_fp32(model: Path, name: str, least: float) -> None:
    cosines = (vectors(model, name) * vectors(model, "fp32")).sum(1)
    assert least < cosines.min() < 0.99999


def test_a_text_alone_equals_the_text_in_a_batch(model: Path) -> None:
    running = Runner(load_model(model, EngineSettings(format="nf4")))
    alone = np.concatenate([running.run([text]).rows for text in TEXTS])
    assert_same_vectors(unit(alone), unit(running.run(TEXTS).rows), cosine=0.99999, distance=5e-3)
