from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from quantised_files import write_mlx
from safetensors.torch import load_file, save_file

from farthing.checkpoint.files import open_files
from farthing.checkpoint.mlx import MlxCheckpoint
from farthing.checkpoint.reader import Checkpoint
from farthing.core.arrays import BF16
from farthing.core.errors import CheckpointError

STEM = "model.layers.0.mlp.up_proj"


def damaged(folder: Path, **changed: torch.Tensor | None) -> Path:
    """A folder of 4 bits in which parts of one matrix are changed, or left out."""
    write_mlx(folder, {"group_size": 64, "bits": 4})
    tensors = load_file(folder / "model.safetensors")
    for part, tensor in changed.items():
        del tensors[f"{STEM}.{part}"]
        if tensor is not None:
            tensors[f"{STEM}.{part}"] = tensor
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_a_word_holds_its_values_from_the_lowest_bits_up(tmp_path: Path) -> None:
    words = torch.tensor([[0x76543210, 0xFEDCBA98] * 4, [0, 0xF0000000] * 4], dtype=torch.uint32)
    scales, biases = torch.tensor([[0.5], [2.0]]), torch.tensor([[-1.0], [3.0]])
    tensors = {"a.weight": words, "a.scales": scales, "a.biases": biases}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"quantization": {"group_size": 64, "bits": 4}}))
    got = open_files(tmp_path).read("a.weight")
    assert got[0].tolist() == (np.tile(np.arange(16), 4) * 0.5 - 1).tolist()
    assert got[1].tolist() == (np.tile([0.0] * 15 + [15], 4) * 2 + 3).tolist()


def test_rows_are_those_of_the_matrix(tmp_path: Path) -> None:
    weights = write_mlx(tmp_path / "mlx", {"group_size": 64, "bits": 4})
    table = open_files(tmp_path / "mlx").rows("model.embed_tokens.weight")
    ids = np.array([259, 0, 3, 3])
    got = table.take(ids, axis=0)
    np.testing.assert_allclose(got, weights["model.embed_tokens.weight"][ids], rtol=1e-6, atol=1e-7)
    assert table.shape == (260, 256)


def test_what_was_not_quantised_is_mapped_as_it_is(tmp_path: Path) -> None:
    write_mlx(tmp_path / "mlx", {"group_size": 64, "bits": 4, STEM: False, "model.embed_tokens": False})
    checkpoint = open_files(tmp_path / "mlx")
    assert isinstance(checkpoint, MlxCheckpoint)
    assert checkpoint.tensors[f"{STEM}.weight"].dtype == "BF16"
    assert checkpoint.read("model.norm.weight").dtype == BF16
    assert isinstance(checkpoint.rows("model.embed_tokens.weight"), np.ndarray)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"group_size": 64, "bits": 3}, "to 3 bits in groups of 64, mode affine; built are 2, 4, 8 bits"),
        ({"group_size": 32, "bits": 4, "mode": "mxfp4"}, "mode mxfp4; built are"),
        ({"bits": 4}, "in groups of None"),
        ({"group_size": 64, "bits": 4, STEM: {"bits": 5}}, f"{STEM} is quantised by MLX to 5 bits"),
        ({"group_size": 64, "bits": 8}, "do not fit 8 bits in groups of 64, as config.json says"),
    ],
)
def test_kinds_that_are_not_built_are_refused(tmp_path: Path, settings: dict[str, Any], why: str) -> None:
    write_mlx(tmp_path / "mlx", {"group_size": 64, "bits": 4})
    config = json.loads((tmp_path / "mlx/config.json").read_text())
    (tmp_path / "mlx/config.json").write_text(json.dumps({**config, "quantization": settings}))
    with pytest.raises(CheckpointError, match=why):
        open_files(tmp_path / "mlx").tensors  # noqa: B018 - reads the headers


@pytest.mark.parametrize(
    "changed",
    [
        {"biases": None},
        {"weight": None},
        {"biases": torch.zeros(2, 4)},
        {"weight": torch.zeros(512, 32, dtype=torch.int32)},
        {"scales": torch.zeros(512)},
    ],
    ids=["no biases", "no weight", "short biases", "signed words", "flat scales"],
)
def test_parts_that_do_not_fit_each_other_are_refused(tmp_path: Path, changed: dict[str, torch.Tensor | None]) -> None:
    with pytest.raises(CheckpointError, match=f"{STEM}: weight, scales and biases do not fit 4 bits"):
        open_files(damaged(tmp_path / "mlx", **changed)).tensors  # noqa: B018


def test_a_folder_quantised_by_others_is_left_to_its_tensors(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "gptq", "bits": 4}}))
    assert isinstance(open_files(tmp_path), Checkpoint)


def test_the_configuration_written_beside_other_weights_no_longer_says_quantised(tmp_path: Path) -> None:
    write_mlx(tmp_path / "mlx", {"group_size": 64, "bits": 4})
    (tmp_path / "out").mkdir()
    open_files(tmp_path / "mlx").write_configuration(tmp_path / "out")
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["hidden_size"] == 256
    assert not {"quantization", "quantization_config"} & set(config)
