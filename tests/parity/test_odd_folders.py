"""Folders that are not as they are written today, against sentence-transformers and transformers on the same files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import assert_same_vectors, reference_vectors
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BertConfig, BertForPreTraining, BertModel

from farthing import Embedder
from farthing.core.settings import EngineSettings, SourceSettings
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model
from farthing.models.synth.checkpoint import find_shape, write_synthetic
from farthing.serving.quantising.quantise import quantise_model

TEXTS = ["HELLO WORLD", "hello world", "Ä LA CARTE, Straße", "ΑΣ Α İstanbul", "Mixed Case Words 12"]


def change_json(file: Path, **changes: object) -> None:
    stored = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**stored, **changes}))


def cased(path: Path) -> None:
    """A tokenizer that keeps capitals, which its vocabulary does not know."""
    content = json.loads((path / "tokenizer.json").read_text())
    content["normalizer"]["lowercase"] = False
    (path / "tokenizer.json").write_text(json.dumps(content))


def lower_case_of_transformers(path: Path) -> None:
    cased(path)
    change_json(path / "tokenizer_config.json", do_lower_case=True)


def capitals_of_transformers(path: Path) -> None:
    change_json(path / "tokenizer_config.json", do_lower_case=False)


def lower_case_of_sentence_transformers(path: Path) -> None:
    cased(path)
    change_json(path / "tokenizer_config.json", do_lower_case=False)
    change_json(path / "sentence_bert_config.json", do_lower_case=True)


def lower_case_under_an_older_name(path: Path) -> None:
    lower_case_of_sentence_transformers(path)
    (path / "sentence_bert_config.json").rename(path / "sentence_roberta_config.json")


def own_files_below(path: Path) -> None:
    below = path / "0_Transformer"
    below.mkdir()
    for file in [*path.glob("*.json"), *path.glob("*.txt"), path / "model.safetensors"]:
        if file.name not in ("modules.json", "config_sentence_transformers.json"):
            file.rename(below / file.name)
    modules = json.loads((path / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (path / "modules.json").write_text(json.dumps(modules))


def own_files_below_and_others_beside_them(path: Path) -> None:
    """The folder's own model is another one, which sentence-transformers does not read."""
    own_files_below(path)
    config = json.loads((path / "0_Transformer" / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))


def stale_index(path: Path) -> None:
    (path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}')


def no_architectures(path: Path) -> None:
    change_json(path / "config.json", architectures=None)


ODD: list[Callable[[Path], None]] = [
    lower_case_of_transformers,
    capitals_of_transformers,
    lower_case_of_sentence_transformers,
    lower_case_under_an_older_name,
    own_files_below,
    own_files_below_and_others_beside_them,
    stale_index,
    no_architectures,
]


def odd_copy(folder: Path, tmp_path: Path, change: Callable[[Path], None]) -> Path:
    path = tmp_path / "odd"
    shutil.copytree(folder, path)
    change(path)
    return path


@pytest.mark.parametrize("change", ODD, ids=lambda change: change.__name__)
def test_vectors_are_those_of_sentence_transformers(
    change: Callable[[Path], None], starter_dir: Path, tmp_path: Path
) -> None:
    path = odd_copy(starter_dir, tmp_path, change)
    with Embedder(str(path), format="fp32") as embedder:
        assert_same_vectors(embedder.encode(TEXTS), reference_vectors(path, TEXTS))


def test_a_multilingual_model_is_put_into_lower_case_as_sentence_transformers_does(
    e5_dir: Path, tmp_path: Path
) -> None:
    path = odd_copy(
        e5_dir, tmp_path, lambda folder: change_json(folder / "sentence_bert_config.json", do_lower_case=True)
    )
    with Embedder(str(path), format="fp32") as embedder:
        got = embedder.encode(TEXTS, prompt="Query: ")
    assert_same_vectors(got, reference_vectors(path, TEXTS, prompt="Query: "))
    assert float(got[0] @ got[1]) > 0.99999


def test_a_quantised_folder_of_files_below_gives_the_vectors_of_quantising_while_loading(
    starter_dir: Path, tmp_path: Path
) -> None:
    path = odd_copy(starter_dir, tmp_path, own_files_below)
    quantise_model(str(path), tmp_path / "int8", SourceSettings(), format="int8", measure=False)
    with Embedder(str(path), format="int8") as embedder, Embedder(str(tmp_path / "int8"), min_fidelity=0.0) as prepared:
        assert_same_vectors(prepared.encode(TEXTS), embedder.encode(TEXTS), cosine=0.999999)


def test_a_table_that_is_stored_as_the_answers_matrix_alone(tmp_path: Path) -> None:
    path = tmp_path / "qwen3"
    write_synthetic(replace(find_shape("qwen3-reranker-tiny"), num_layers=2), path)
    reference = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    texts = [[3, 4, 5], [6, 7, 8, 9]]
    with torch.inference_mode():
        want = np.stack(
            [reference(torch.tensor([text]), output_hidden_states=True).hidden_states[-1][0, -1] for text in texts]
        )
    tensors = load_file(path / "model.safetensors")
    name = next(name for name in tensors if name.endswith("embed_tokens.weight"))
    tensors["lm_head.weight"] = tensors.pop(name)
    save_file(tensors, path / "model.safetensors")
    change_json(path / "config.json", tie_word_embeddings=True)
    assert_same_vectors(unit(Runner(load_model(path, EngineSettings(format="fp32"))).run(texts).rows), unit(want))


def test_a_model_saved_with_both_heads_of_its_training(tmp_path: Path) -> None:
    torch.manual_seed(3)
    sizes = {"vocab_size": 500, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3}
    BertForPreTraining(BertConfig(**sizes, intermediate_size=96)).save_pretrained(tmp_path)
    encoder = BertModel.from_pretrained(tmp_path)
    texts = [[3, 4, 5], [6, 7, 8, 9]]
    with torch.inference_mode():
        want = np.stack([encoder(torch.tensor([text])).last_hidden_state[0].mean(0) for text in texts])
    assert_same_vectors(unit(Runner(load_model(tmp_path, EngineSettings(format="fp32"))).run(texts).rows), unit(want))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
