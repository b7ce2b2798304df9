"""GGUF files and folders quantised by MLX against transformers on the weights that they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from quantised_files import END_ID, NO_ID, GgufModel, save_dense, write_gguf, write_mlx
from reference import assert_same_vectors
from transformers import AutoModel

from farthing import Embedder
from farthing.checkpoint.manifest import read_manifest
from farthing.core.settings import EngineSettings, SourceSettings
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model
from farthing.serving.quantising.quantise import quantise_model

GGUF_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q5_K", "Q6_K")
RNG = np.random.default_rng(3)
TEXTS = [[*RNG.integers(0, 256, length).tolist(), END_ID] for length in (0, 3, 40, 40, 200)]


def reference(folder: Path) -> np.ndarray:
    model = AutoModel.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        rows = [model(torch.tensor([text])).last_hidden_state[0, -1].numpy() for text in TEXTS]
    return np.stack([row / np.linalg.norm(row) for row in rows])


def vectors(path: Path, **settings: Any) -> np.ndarray:
    output = Runner(load_model(path, EngineSettings(**{"format": "fp32", **settings}))).run(TEXTS)
    assert not output.errors
    return output.rows / np.linalg.norm(output.rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def q4(tmp_path_factory: pytest.TempPathFactory) -> GgufModel:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "model-Q4_K.gguf", "Q4_K")


@pytest.mark.parametrize("type_name", GGUF_TYPES)
def test_a_gguf_gives_the_vectors_of_the_weights_it_stands_for(tmp_path: Path, type_name: str) -> None:
    model = write_gguf(tmp_path / "model.gguf", type_name)
    assert_same_vectors(vectors(model.path, format="fp32"), reference(save_dense(tmp_path / "dense", model.weights)))


@pytest.mark.parametrize(
    "settings",
    [
        {"group_size": 64, "bits": 4},
        {"group_size": 32, "bits": 8, "mode": "affine"},
        {"group_size": 64, "bits": 2},
        {
            "group_size": 64,
            "bits": 4,
            "model.embed_tokens": {"group_size": 32, "bits": 8},
            "model.layers.0.self_attn.q_proj": {"group_size": 128, "bits": 8},
            "model.layers.1.mlp.down_proj": False,
            "model.layers.0.mlp.up_proj": True,
        },
    ],
    ids=["4 bits", "8 bits", "2 bits", "mixed"],
)
def test_an_mlx_folder_gives_the_vectors_of_the_weights_it_stands_for(tmp_path: Path, settings: dict[str, Any]) -> None:
    weights = write_mlx(tmp_path / "mlx", settings)
    got = vectors(tmp_path / "mlx", format="fp32")
    assert_same_vectors(got, reference(save_dense(tmp_path / "dense", weights)))


def test_a_gguf_is_embedded_by_its_path_alone(q4: GgufModel) -> None:
    with Embedder(str(q4.path), format="fp32") as embedder:
        got = embedder.encode(["no wren", "n"])
    ids = [[NO_ID, *b" wren", END_ID], [ord("n"), END_ID]]
    wanted = Runner(load_model(q4.path, EngineSettings(format="fp32"))).run(ids).rows
    assert_same_vectors(got, wanted / np.linalg.norm(wanted, axis=1, keepdims=True))


@pytest.mark.parametrize("kind", ["gguf", "mlx"])
def test_quantising_such_a_file_gives_the_space_of_quantising_while_loading(
    q4: GgufModel, tmp_path: Path, kind: str
) -> None:
    path, out = q4.path, tmp_path / "out"
    if kind == "mlx":
        path = tmp_path / "mlx"
        write_mlx(path, {"group_size": 64, "bits": 4})
        (path / "tokenizer.json").write_text("{}")
    quantise_model(str(path), out, SourceSettings(), format="int8", measure=False)
    now, prepared = load_model(path, EngineSettings(format="int8")), load_model(out, EngineSettings())
    assert prepared.fingerprint == now.fingerprint
    assert prepared.embedding == now.embedding
    rows = [Runner(model).run(TEXTS).rows for model in (now, prepared)]
    assert np.array_equal(rows[0], rows[1])
    assert prepared.description.checkpoint.tensors["embed_tokens.weight"].dtype == "F32"
    assert (out / "tokenizer.json").is_file()


def test_a_quantised_gguf_is_measured_against_the_gguf(q4: GgufModel, tmp_path: Path) -> None:
    quantise_model(str(q4.path), tmp_path / "out", SourceSettings(), format="int8", measure=True)
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.closeness is not None
    assert manifest.closeness["cosine_mean"] > 0.98


def test_files_of_other_weights_are_other_spaces(q4: GgufModel, tmp_path: Path) -> None:
    other = write_gguf(tmp_path / "other.gguf", "Q8_0")
    write_mlx(tmp_path / "mlx", {"group_size": 64, "bits": 4})
    prints = {load_model(path, EngineSettings()).fingerprint for path in (q4.path, other.path, tmp_path / "mlx")}
    assert len(prints) == 3
