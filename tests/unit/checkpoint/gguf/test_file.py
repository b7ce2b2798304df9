from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quantised_files import CONFIG, GgufModel, write_gguf

from farthing.checkpoint.files import open_files
from farthing.checkpoint.gguf.file import GgufCheckpoint
from farthing.checkpoint.gguf.header import read_header
from farthing.core.arrays import DTYPES
from farthing.core.errors import CheckpointError, UnknownArchitectureError
from farthing.models.embedding_config import embedding_spec
from farthing.models.families import family_of

Measured = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> GgufModel:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "model.gguf", "Q6_K")


def refusal(path: Path, error: type[Exception] = CheckpointError) -> str:
    with pytest.raises(error) as caught:
        GgufCheckpoint(path)
    return str(caught.value)


def test_the_configuration_is_that_of_the_same_model_in_safetensors(model: GgufModel) -> None:
    checkpoint = open_files(model.path)
    assert checkpoint.config == {**CONFIG, "dtype": "float32"}
    family = family_of(checkpoint.config)
    assert family.spec(checkpoint.config) == family.spec(CONFIG)


@pytest.mark.parametrize(("number", "pooling"), [(None, "last"), (0, "last"), (1, "mean"), (2, "cls"), (3, "last")])
def test_pooling_is_read_or_left_to_the_family(tmp_path: Path, number: int | None, pooling: str) -> None:
    checkpoint = open_files(write_gguf(tmp_path / "a.gguf", "F16", {"qwen3.pooling_type": number}).path)
    family = family_of(checkpoint.config)
    assert (
        embedding_spec(checkpoint, family.spec(checkpoint.config), family.fallback(checkpoint.config)).pooling
        == pooling
    )


def test_matrices_are_dequantised_and_vectors_mapped(model: GgufModel) -> None:
    checkpoint = GgufCheckpoint(model.path)
    assert {f"model.{name}" for name in checkpoint.tensors} == set(model.weights)
    for name, info in checkpoint.tensors.items():
        tensor = checkpoint.read(name)
        assert (tensor.dtype, tensor.shape, info.dtype) == (np.float32, info.shape, "F32")
        assert np.array_equal(tensor, model.weights[f"model.{name}"]), name


def test_rows_are_those_of_the_matrix_in_the_order_asked_for(model: GgufModel) -> None:
    table, whole = (getattr(GgufCheckpoint(model.path), way)("embed_tokens.weight") for way in ("rows", "read"))
    ids = np.array([259, 0, 7, 7, 131])
    assert np.array_equal(table.take(ids, axis=0), whole[ids])
    assert (table.shape, table.dtype) == (whole.shape, whole.dtype)


@pytest.mark.parametrize(("name", "stated"), [("F16", "float16"), ("BF16", "bfloat16")])
def test_plain_tensors_keep_their_type(tmp_path: Path, name: str, stated: str) -> None:
    checkpoint = GgufCheckpoint(write_gguf(tmp_path / "a.gguf", name).path)
    assert checkpoint.tensors["layers.0.mlp.up_proj.weight"].dtype == name
    assert checkpoint.rows("embed_tokens.weight").dtype == DTYPES[name]
    assert checkpoint.read("layers.0.mlp.up_proj.weight").dtype == DTYPES[name]
    assert checkpoint.config["dtype"] == stated


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"qwen3.block_count": None}, r"lacks qwen3\.block_count\. Convert the model again"),
        ({"qwen3.attention.causal": False}, "with causal attention only"),
        ({"qwen3.attention.value_length": 64 * 2}, "different widths"),
        ({"qwen3.pooling_type": 4}, "a reranker's. Take an embedding model's file"),
        ({"qwen3.pooling_type": 9}, "pooling_type is 9, which is unknown"),
        (
            {"general.type": "adapter", "general.base_model.0.name": "Some Base"},
            "an adapter of Some Base, and no",
        ),
        ({"split.count": 3}, "one of 3 that hold the model together. Merge them"),
    ],
)
def test_what_is_not_built_is_refused(tmp_path: Path, metadata: dict[str, Any], why: str) -> None:
    with pytest.raises(CheckpointError, match=why):
        GgufCheckpoint(write_gguf(tmp_path / "a.gguf", "F16", metadata).path)


def test_scaled_rope_is_refused_by_the_family(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf", "F16", {"qwen3.rope.scaling.type": "yarn"}).path
    config = GgufCheckpoint(path).config
    with pytest.raises(CheckpointError, match="RoPE of type 'yarn' is not built"):
        family_of(config).spec(config)


def test_another_architecture_is_refused_with_those_there_are(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf", "F16", {"general.architecture": "llama"}).path
    assert "architecture is 'llama'; available: qwen3." in refusal(path, UnknownArchitectureError)


def test_a_file_without_its_table_is_refused(tmp_path: Path) -> None:
    assert "has no token_embd.weight" in refusal(write_gguf(tmp_path / "a.gguf", "F16", drop="token_embd.weight").path)


def test_a_file_that_was_cut_short_is_refused_before_it_is_read(model: GgufModel, tmp_path: Path) -> None:
    content = model.path.read_bytes()
    (tmp_path / "cut.gguf").write_bytes(content[:-100])
    message = refusal(tmp_path / "cut.gguf")
    assert "is cut short" in message
    assert f"the file at {len(content) - 100:,}. Download it again." in message


def test_rows_that_are_no_whole_blocks_are_refused(model: GgufModel, tmp_path: Path) -> None:
    content = model.path.read_bytes()
    name = b"blk.0.attn_q.weight"
    width = content.index(name) + len(name) + 4
    damaged = content[:width] + (255).to_bytes(8, "little") + content[width + 8 :]
    (tmp_path / "damaged.gguf").write_bytes(damaged)
    assert "rows of blk.0.attn_q.weight are no whole blocks of Q6_K" in refusal(tmp_path / "damaged.gguf")


def test_configuration_and_tokenizer_are_written_beside_other_weights(model: GgufModel, tmp_path: Path) -> None:
    checkpoint = GgufCheckpoint(model.path)
    checkpoint.write_configuration(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == checkpoint.config
    written = open_files(tmp_path)
    assert written.json("modules.json") == checkpoint.json("modules.json")
    assert written.json("1_Pooling/config.json") == {"pooling_mode": "lasttoken"}
    assert json.loads((tmp_path / "tokenizer.json").read_text())["model"]["merges"] == [["n", "o"]]


def test_one_changed_block_changes_the_fingerprint(model: GgufModel, tmp_path: Path) -> None:
    content = bytearray(model.path.read_bytes())
    content[read_header(model.path).data_offset] ^= 1
    (tmp_path / "other.gguf").write_bytes(content)
    assert GgufCheckpoint(model.path).fingerprint != GgufCheckpoint(tmp_path / "other.gguf").fingerprint


LARGE = """
import numpy as np
from gguf import GGUFWriter
from gguf.constants import GGMLQuantizationType as T
from farthing.checkpoint.gguf.file import GgufCheckpoint

path = Path(sys.argv[1])
checkpoint = GgufCheckpoint(path)
checkpoint.read("norm.weight")
before = peak_bytes()
for name in ("layers.0.mlp.up_proj.weight", "layers.0.mlp.gate_proj.weight"):
    matrix = checkpoint.read(name)
    del matrix
table = checkpoint.rows("embed_tokens.weight")
print(json.dumps({"peak": peak_bytes() - before, "after": resident_bytes() - before}))
"""


def test_reading_takes_the_memory_of_one_matrix(
    measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONFIG, "intermediate_size", 32 * 1024)
    path = write_gguf(tmp_path / "large.gguf", "Q4_0").path
    matrix_bytes = 32 * 1024 * 256 * 4
    stored_bytes = matrix_bytes * 18 // 128  # mapped while it is read
    got = measured(LARGE, path)
    assert got["peak"] < matrix_bytes + stored_bytes + 8 * 2**20
    assert got["after"] < 4 * 2**20
