"""What makes another model of a folder, and what does not: the space of its vectors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from quantised_files import write_gguf, write_mlx
from safetensors.torch import load_file, save_file

from farthing.checkpoint.manifest import FILE
from farthing.core.settings import EngineSettings
from farthing.engine.describe import describe_model
from farthing.engine.weights.load import fingerprint
from farthing.engine.weights.write_folder import write_quantised
from farthing.models.synth.checkpoint import find_shape, write_synthetic


def space(path: Path, **settings: Any) -> str:
    return fingerprint(describe_model(path, EngineSettings(device="cpu", memory="none", min_fidelity=0, **settings)))


def write_json(file: Path, content: object) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))


MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]


@pytest.fixture
def model(bert: Any) -> Path:
    """A small BERT with all the files that say how its vectors are made."""
    path: Path = bert.path
    write_json(path / "modules.json", MODULES)
    write_json(path / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True, "word_embedding_dimension": 24})
    write_json(path / "sentence_bert_config.json", {"max_seq_length": 60, "do_lower_case": False})
    write_json(path / "config_sentence_transformers.json", {"prompts": {"query": "Q: "}, "default_prompt_name": None})
    write_json(path / "tokenizer_config.json", {"model_max_length": 64})
    write_json(path / "tokenizer.json", {"normalizer": {"type": "BertNormalizer", "lowercase": True}})
    return path


def changed(file: str, **changes: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        write_json(path / file, {**json.loads((path / file).read_text()), **changes})

    return change


def add(name: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        tensors = load_file(path / "model.safetensors")
        flat = tensors[name].view(-1)
        flat[len(flat) // 2] += 1e-6
        save_file(tensors, path / "model.safetensors")

    return change


TOKENIZER = "tokenizer_config.json"
PROMPTS = "config_sentence_transformers.json"
CHANGES: dict[str, Callable[[Path], None]] = {
    "gain": add("encoder.layer.1.output.LayerNorm.weight"),
    "norm's bias": add("encoder.layer.0.attention.output.LayerNorm.bias"),
    "bias": add("encoder.layer.1.attention.self.query.bias"),
    "matrix": add("encoder.layer.0.intermediate.dense.weight"),
    "positions": add("embeddings.position_embeddings.weight"),
    "table": add("embeddings.word_embeddings.weight"),
    "eps": changed("config.json", layer_norm_eps=1e-6),
    "activation": changed("config.json", hidden_act="gelu_new"),
    "heads": changed("config.json", num_attention_heads=1),
    "tokenizer": changed("tokenizer.json", normalizer={"type": "BertNormalizer", "lowercase": False}),
    "no tokenizer": lambda path: (path / "tokenizer.json").unlink(),
    "pooling": changed("1_Pooling/config.json", pooling_mode_mean_tokens=False, pooling_mode_cls_token=True),
    "context": changed("sentence_bert_config.json", max_seq_length=50),
    "lower case": changed("sentence_bert_config.json", do_lower_case=True),
    "lower case of transformers": changed(TOKENIZER, tokenizer_class="BertTokenizer", do_lower_case=False),
    "the tokenizer's context": changed("tokenizer_config.json", model_max_length=50),
    "prompt": changed(PROMPTS, prompts={"query": "query: "}),
    "another prompt": changed(PROMPTS, prompts={"query": "Q: ", "document": "D: "}),
    "default prompt": changed(PROMPTS, default_prompt_name="query"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_vectors_makes_another_space(model: Path, change: Callable[[Path], None]) -> None:
    before = space(model)
    change(model)
    assert space(model) != before


SAME: dict[str, Callable[[Path], None]] = {
    "what the tokenizer says too": changed(TOKENIZER, tokenizer_class="BertTokenizer", do_lower_case=True),
    "an index of earlier shards": lambda path: write_json(path / "model.safetensors.index.json", {}),
    "what wrote the config": changed("config.json", transformers_version="9.9", _name_or_path="/home/a"),
    "versions of libraries": changed(PROMPTS, __version__={"pytorch": "9"}),
    "a context beyond the positions": changed("tokenizer_config.json", model_max_length=10**30),
    "words": lambda path: (path / "README.md").write_text("a model") and None,
    "a folder of pooling": lambda path: (
        (path / "1_Pooling").rename(path / "2_Pooling"),
        write_json(path / "modules.json", [MODULES[0], {**MODULES[1], "path": "2_Pooling"}]),
    )[-1],
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_what_changes_no_vectors_makes_none(model: Path, change: Callable[[Path], None]) -> None:
    before = space(model)
    change(model)
    assert space(model) == before


def quantised(path: Path, out: Path) -> Path:
    settings = EngineSettings(format="int8", device="cpu", memory="none", min_fidelity=0)
    write_quantised(describe_model(path, settings), out, source="m", farthing_version="0").write(out)
    return out


def test_a_folder_of_quantised_weights_is_of_the_space_of_its_source(model: Path, tmp_path: Path) -> None:
    assert space(quantised(model, tmp_path / "out")) == space(model, format="int8")


def test_a_folder_made_of_a_model_with_another_tokenizer_is_of_another_space(model: Path, tmp_path: Path) -> None:
    before = space(quantised(model, tmp_path / "one"))
    CHANGES["tokenizer"](model)
    assert space(quantised(model, tmp_path / "two")) != before


FOLDER_CHANGES = {
    "tokenizer": CHANGES["tokenizer"],
    "pooling": CHANGES["pooling"],
    "prompt": CHANGES["prompt"],
    "eps": CHANGES["eps"],
    "gain": CHANGES["gain"],
    "table": CHANGES["table"],
}


@pytest.mark.parametrize("change", FOLDER_CHANGES.values(), ids=FOLDER_CHANGES)
def test_a_folder_that_was_changed_since_is_of_another_space(
    model: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    before = space(quantised(model, tmp_path / "out"))
    change(tmp_path / "out")
    assert space(tmp_path / "out") != before


def test_a_changed_block_of_a_quantised_folder_makes_another_space(model: Path, tmp_path: Path) -> None:
    before = space(quantised(model, tmp_path / "out"))
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    name = next(name for name in tensors if name.endswith(".packed"))
    tensors[name][len(tensors[name]) // 2] ^= 1
    save_file(tensors, tmp_path / "out" / "model.safetensors")
    assert space(tmp_path / "out") != before


def test_a_quantised_folder_of_version_0_1_is_of_a_space_of_its_own(model: Path, tmp_path: Path) -> None:
    out = quantised(model, tmp_path / "out")
    content = json.loads((out / FILE).read_text())
    del content["folder_fingerprint"]
    (out / FILE).write_text(json.dumps(content))
    spaces = {space(out), space(model, format="int8"), space(model, format="fp32")}
    assert len(spaces) == 3
    assert space(shutil.copytree(out, tmp_path / "copy")) in spaces


def test_formats_and_exact_weights_are_spaces_apart(model: Path) -> None:
    spaces = [space(model, format=name) for name in ("fp32", "bf16", "int8", "nf4")]
    assert spaces[0] == spaces[1]
    assert len(set(spaces)) == 3


def test_a_gguf_files_tokenizer_counts(tmp_path: Path) -> None:
    one = write_gguf(tmp_path / "one.gguf", "Q8_0").path
    content = one.read_bytes()
    assert content.count(b"wren") == 0
    at = content.index(b"tokenizer.ggml.merges")
    merge = content.index(b"n o", at)
    (tmp_path / "two.gguf").write_bytes(content[:merge] + b"o n" + content[merge + 3 :])
    assert space(one) != space(tmp_path / "two.gguf")
    shutil.copy(one, tmp_path / "copy of it.gguf")
    assert space(one) == space(tmp_path / "copy of it.gguf")


def test_an_mlx_folders_scales_and_tokenizer_count(tmp_path: Path) -> None:
    path = tmp_path / "mlx"
    write_mlx(path, {"group_size": 64, "bits": 4})
    (path / "tokenizer.json").write_text("{}")
    before = space(path)
    (path / "tokenizer.json").write_text('{"normalizer": null}')
    with_tokenizer = space(path)
    tensors = load_file(path / "model.safetensors")
    name = next(name for name in tensors if name.endswith(".scales"))
    tensors[name].view(-1)[1] *= 1.5
    save_file(tensors, path / "model.safetensors")
    assert len({before, with_tokenizer, space(path)}) == 3


def test_another_families_weights_are_another_space(model: Path, tmp_path: Path) -> None:
    write_synthetic(replace(find_shape("qwen3-tiny"), vocab=200, num_layers=3), tmp_path / "qwen3")
    before = space(tmp_path / "qwen3")
    assert before != space(model)
    tensors = load_file(tmp_path / "qwen3" / "model.safetensors")
    tensors["norm.weight"] = tensors["norm.weight"] * torch.tensor(1.01, dtype=tensors["norm.weight"].dtype)
    save_file(tensors, tmp_path / "qwen3" / "model.safetensors")
    assert space(tmp_path / "qwen3") != before
