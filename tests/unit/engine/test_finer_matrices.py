"""A small model's sensitive matrices are int8's in a folder of nf4, and counted as that."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from farthing.checkpoint.manifest import FILE
from farthing.core.settings import EngineSettings
from farthing.engine.describe import ModelDescription, describe_model
from farthing.engine.runner import Runner
from farthing.engine.weights.load import fingerprint, load_model
from farthing.engine.weights.write_folder import write_quantised
from farthing.models.families.bert import BertFamily
from farthing.quant.int8_packed import packed_bytes as int8_bytes
from farthing.quant.nf4_packed import packed_bytes

CONFIG = {
    "architectures": ["BertModel"],
    "vocab_size": 90,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 192,
    "max_position_embeddings": 70,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "type_vocab_size": 2,
}
LAYOUT = BertFamily().layout(BertFamily().spec(CONFIG))  # of wide_bert
TEXTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 60]]


def describe(path: Path, name: str = "nf4") -> ModelDescription:
    return describe_model(path, EngineSettings(format=name, device="cpu", memory="none"))


def write(description: ModelDescription, out: Path, calibration: list[list[int]] | None = None) -> dict[str, Any]:
    """Its tensors."""
    written = write_quantised(description, out, source="", farthing_version="", calibration=calibration or ())
    written.write(out)
    return load_file(out / "model.safetensors")


def rows(path: Path, **settings: Any) -> np.ndarray:
    return Runner(load_model(path, EngineSettings(device="cpu", min_fidelity=0, **settings))).run(TEXTS).rows


@pytest.mark.parametrize("calibration", [[], TEXTS])
def test_sensitive_matrices_are_stored_as_int8_stores_them(
    wide_bert: Any, tmp_path: Path, calibration: list[list[int]]
) -> None:
    int8 = write(describe(wide_bert.path, "int8"), tmp_path / "int8")
    nf4 = write(describe(wide_bert.path), tmp_path / "nf4", calibration)
    for layer in range(2):
        for name in ("qkv", "up"):
            block = f"encoder.layer.{layer}.{name}.packed"
            assert torch.equal(nf4[block], int8[block])
        assert nf4[f"encoder.layer.{layer}.o.packed"].shape == (packed_bytes(64, 64),)
        assert nf4[f"encoder.layer.{layer}.down.packed"].shape == (packed_bytes(64, 192),)


def test_the_plan_counts_what_the_folder_holds(wide_bert: Any, tmp_path: Path) -> None:
    tensors = write(describe(wide_bert.path), tmp_path / "nf4")
    del tensors["embeddings.word_embeddings.weight"]
    for path in (wide_bert.path, tmp_path / "nf4"):
        ledger = describe(path).plan.ledger
        assert ledger.named("weights") == sum(tensor.nbytes for tensor in tensors.values())
    assert ledger.named("weights") < describe(wide_bert.path, "int8").plan.ledger.named("weights")


def test_only_matrices_in_four_bits_are_counted_as_unpacked(wide_bert: Any) -> None:
    ledger = describe(wide_bert.path).plan.ledger
    assert ledger.named("a layer unpacked") == int8_bytes(64, 64) + int8_bytes(64, 192)  # o and down


def test_a_folder_from_before_keeps_its_matrices_and_its_space(wide_bert: Any, tmp_path: Path) -> None:
    description = describe(wide_bert.path)
    write(replace(description, layout=description.layout.with_sensitive(())), tmp_path / "before")
    manifest = json.loads((tmp_path / "before" / FILE).read_text())
    assert manifest.pop("int8_parts") == []
    (tmp_path / "before" / FILE).write_text(json.dumps(manifest))
    loaded = load_model(tmp_path / "before", EngineSettings(min_fidelity=0))
    source = description.identity
    assert (loaded.fingerprint, fingerprint(description)) == (f"{source}-nf4", f"{source}-nf4-qkv-up")
    exact, old, new = rows(wide_bert.path, format="fp32"), rows(tmp_path / "before"), rows(wide_bert.path, format="nf4")
    assert np.abs(new - exact).mean() < 0.9 * np.abs(old - exact).mean()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, ("qkv", "up")), ({"num_hidden_layers": 13}, ()), ({"hidden_size": 1056}, ())],
)
def test_only_small_models_have_them(changes: dict[str, int], expected: tuple[str, ...], wide_bert: Any) -> None:
    family = BertFamily()
    layout = family.layout(family.spec({**CONFIG, **changes}))
    forms = {name: describe(wide_bert.path, name).plan.format for name in ("fp32", "int8", "nf4", "fp8")}
    assert layout.finer_parts(forms.pop("nf4")) == expected
    assert [layout.finer_parts(form) for form in forms.values()] == [()] * 3
