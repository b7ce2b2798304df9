"""Files of a model that a stranger made: each is read, or refused with one sentence; nothing hangs and nothing else is
raised."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farthing.checkpoint.json_file import MAX_JSON_BYTES
from farthing.checkpoint.manifest import FILE
from farthing.checkpoint.tokenizer_file import MAX_TOKENIZER_BYTES
from farthing.core.errors import CheckpointError, FarthingError, ModelError, TokenizerError
from farthing.core.settings import EngineSettings
from farthing.engine.describe import describe_model, read_shape
from farthing.engine.weights.load import load_model
from farthing.serving.text.tokenizer import TextTokenizer

POOLING = "1_Pooling/config.json"
FILES = (
    "config.json",
    "modules.json",
    POOLING,
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
    "model.safetensors.index.json",
    FILE,
)
MODULES = [
    {"type": "sentence_transformers.models.Transformer", "path": ""},
    {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
]
SETTINGS = EngineSettings(device="cpu", memory="none", min_fidelity=0)
CONTENTS: dict[str, bytes] = {
    "nothing": b"",
    "a deep list": b"[" * 200_000,
    "a deep list that ends": b"[" * 900 + b"]" * 900,
    "a deep object": b'{"a":' * 900 + b"1" + b"}" * 900,
    "a number": b"12",
    "a long number": b"9" * 5000,
    "text": b'"text"',
    "null": b"null",
    "true": b"true",
    "NaN": b"NaN",
    "an empty list": b"[]",
    "an empty object": b"{}",
    "an object": b'{"a": 1}',
    "a list of numbers": b"[1]",
    "no UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "cut": b'{"a": [1, ',
    "zeros": b"\0" * 1000,
    "large": b'{"a": "' + b"x" * (MAX_JSON_BYTES + 1) + b'"}',
}
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "0": 0,
    "-1": -1,
    "1.5": 1.5,
    "1e999": float("inf"),
    "-1e999": float("-inf"),
    "NaN": float("nan"),
    "1e300": 1e300,
    "2^31": 2**31,
    "2^63": 2**63,
    "10^4000": 10**4000,
    "text": "text",
    "a long text": "x" * 100_000,
    "NUL": "a\0b",
    "a path": "../../../etc",
    "an empty list": [],
    "a list": [1, "a", None],
    "lists": [[[]]],
    "an empty object": {},
    "an object": {"a": {"b": []}},
}


def refused(path: Path, act: Callable[[], object]) -> None:
    """`act` may succeed, or be refused with one sentence; it may not take long."""
    started, said = time.perf_counter(), "."
    try:
        act()
    except FarthingError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 2000, said[:3000]
    assert said.endswith((".", "OUT")), said
    assert time.perf_counter() - started < 20


@pytest.fixture(params=["qwen3", "bert"])
def model(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param).path
    write_json(path / "modules.json", MODULES)
    write_json(path / POOLING, {"pooling_mode": "mean" if request.param == "bert" else "lasttoken"})
    load_model(path, SETTINGS)
    return path


def write_json(file: Path, content: object) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))


def opens(path: Path) -> Callable[[], object]:
    def act() -> None:
        read_shape(path, SETTINGS)
        load_model(path, SETTINGS)

    return act


def describes(path: Path) -> Callable[[], object]:
    def act() -> None:
        read_shape(path, SETTINGS)
        describe_model(path, SETTINGS)

    return act


@pytest.mark.parametrize("file", FILES)
def test_whatever_stands_in_a_file(model: Path, file: str) -> None:
    before = (model / file).read_bytes() if (model / file).exists() else None
    for content in CONTENTS.values():
        (model / file).write_bytes(content)
        refused(model, opens(model))
    if before is None:
        (model / file).unlink()
    else:
        (model / file).write_bytes(before)
    load_model(model, SETTINGS)


@pytest.mark.parametrize("file", [*FILES, "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file_is_not_waited_for(bert: Any, file: str, kind: str) -> None:
    path: Path = bert.path
    (path / "tokenizer.json").write_bytes(word_piece())
    write_json(path / "modules.json", MODULES)
    write_json(path / POOLING, {"pooling_mode": "mean"})
    place = path / file
    place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to("/dev/zero")

    def act() -> None:
        load_model(path, SETTINGS)
        TextTokenizer(path, vocab=90, end_token=None)

    with pytest.raises(ModelError) as caught:
        act()
    assert place.name in str(caught.value) or "safetensors" in str(caught.value)


CONFIG_KEYS = """
    architectures model_type vocab_size hidden_size num_hidden_layers num_attention_heads num_key_value_heads
    head_dim intermediate_size max_position_embeddings layer_norm_eps rms_norm_eps hidden_act type_vocab_size
    pad_token_id rope_theta rope_scaling rope_parameters matryoshka_dimensions id2label num_labels dtype torch_dtype
    tie_word_embeddings attention_bias use_sliding_window position_embedding_type is_decoder quantization
    quantization_config farthing_synthetic
"""
KEYS = {
    "config.json": CONFIG_KEYS.split(),
    POOLING: ["pooling_mode", "pooling_mode_cls_token", "include_prompt"],
    "sentence_bert_config.json": ["max_seq_length", "do_lower_case"],
    "config_sentence_transformers.json": ["prompts", "default_prompt_name"],
    "tokenizer_config.json": ["model_max_length"],
    "model.safetensors.index.json": ["weight_map", "metadata"],
}


@pytest.mark.parametrize(("file", "key"), [(file, key) for file, keys in KEYS.items() for key in keys])
def test_whatever_a_key_says(model: Path, file: str, key: str) -> None:
    held = json.loads((model / file).read_text()) if (model / file).exists() else {}
    for value in VALUES.values():
        write_json(model / file, {**held, key: value})
        refused(model, (describes if file == "config.json" else opens)(model))


@pytest.mark.parametrize("key", ["type", "path"])
def test_whatever_a_module_says(model: Path, key: str) -> None:
    for value in VALUES.values():
        write_json(model / "modules.json", [{**MODULES[1], key: value}])
        refused(model, opens(model))


@pytest.mark.parametrize(
    "key",
    [
        "format", "gains_folded", "rotated", "source", "source_fingerprint", "farthing_version", "closeness",
        "calibration", "int8_parts", "folder_fingerprint", "version",
    ],
)  # fmt: skip
def test_whatever_a_folder_of_quantised_weights_says(model: Path, key: str) -> None:
    facts = {
        "format": "int8", "gains_folded": True, "rotated": False, "source": "m", "source_fingerprint": "0",
        "farthing_version": "0", "closeness": None, "calibration": None, "int8_parts": [], "version": 1,
    }  # fmt: skip
    for value in VALUES.values():
        write_json(model / FILE, {**facts, key: value})
        refused(model, opens(model))


def test_a_key_may_say_what_leads_out_of_the_folder_and_is_not_followed(bert: Any, tmp_path: Path) -> None:
    path: Path = bert.path
    write_json(tmp_path / "config.json", {"pooling_mode": "cls"})
    for place in ("..", "../", str(tmp_path), "a/../.."):
        write_json(path / "modules.json", [{"type": "Pooling", "path": place}])
        with pytest.raises(CheckpointError, match="no folder of the model"):
            describe_model(path, SETTINGS)
    (path / "modules.json").unlink()
    (path / "model.safetensors").rename(tmp_path / "model.safetensors")
    write_json(path / "model.safetensors.index.json", {"weight_map": {"a": "../model.safetensors"}})
    with pytest.raises(CheckpointError, match="maps no tensors to files"):
        load_model(path, SETTINGS)


@pytest.mark.parametrize("layers", [1001, 10**9, 2**62])
def test_layers_that_no_model_has_are_refused_before_anything_is_planned(model: Path, layers: int) -> None:
    write_json(model / "config.json", {**json.loads((model / "config.json").read_text()), "num_hidden_layers": layers})
    started = time.perf_counter()
    for act in (read_shape, describe_model):
        with pytest.raises(CheckpointError, match=r"num_hidden_layers is .* at most 1,000 can be computed"):
            act(model, SETTINGS)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("eps", [float("inf"), float("nan"), 0, -1e-6, 1e30, "1e-6", None, True])
def test_an_eps_that_makes_no_norm_is_refused(model: Path, eps: object) -> None:
    config = json.loads((model / "config.json").read_text())
    key = next(key for key in config if key.endswith("_eps"))
    write_json(model / "config.json", {**config, key: eps})
    with pytest.raises(CheckpointError, match=f"config.json: {key} is .*; a number above 0 up to 1 is needed"):
        describe_model(model, SETTINGS)


def test_a_width_that_cannot_be_rotated_is_refused_soon(qwen3: Any) -> None:
    path = qwen3.configure(hidden_size=2**31 - 1, num_attention_heads=1, num_key_value_heads=1)
    with pytest.raises(FarthingError):
        describe_model(path, EngineSettings(format="int8", device="cpu", memory="none"))


def test_a_header_that_no_model_has_is_refused(bert: Any) -> None:
    file = bert.path / "model.safetensors"
    header = b"{" + b" " * (17 * 2**20)
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="header of 17,825,793 bytes"):
        load_model(bert.path, SETTINGS)


# --- the tokenizer ------------------------------------------------------------------------------------------------


def tokenizer_refusal(path: Path, content: bytes) -> str:
    (path / "tokenizer.json").write_bytes(content)
    with pytest.raises(TokenizerError) as caught:
        TextTokenizer(path, vocab=90, end_token=None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def word_piece(**changes: object) -> bytes:
    model = {
        "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": {"[UNK]": 0, "a": 1, "##a": 2},
    }  # fmt: skip
    content = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": None, "decoder": None, "model": model,
    }  # fmt: skip
    return json.dumps({**content, **changes}).encode()


def test_a_good_tokenizer_is_read(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(word_piece())
    assert TextTokenizer(tmp_path, vocab=90, end_token=None).encode(["a aa b"]) == [[1, 1, 2, 0]]


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_whatever_stands_in_tokenizer_json(tmp_path: Path, content: bytes) -> None:
    message = tokenizer_refusal(tmp_path, content)
    assert message.startswith(f"{tmp_path / 'tokenizer.json'} cannot be read: ")
    assert message.endswith("Take tokenizer.json from the original model.")


def test_a_tokenizer_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer.json").open("wb") as stream:
        stream.truncate(MAX_TOKENIZER_BYTES + 1)
    with pytest.raises(TokenizerError, match="at most 67,108,864 are read"):
        TextTokenizer(tmp_path, vocab=90, end_token=None)


def test_a_tokenizer_without_its_unknown_token_is_refused_when_it_is_read(tmp_path: Path) -> None:
    model = {**json.loads(word_piece())["model"], "vocab": {"a": 1, "##a": 2, "h": 3}}
    message = tokenizer_refusal(tmp_path, word_piece(model=model))
    assert f"{tmp_path / 'tokenizer.json'} cannot tokenise every text: " in message
    assert "[UNK]" in message


@pytest.mark.parametrize("place", ["normalizer", "pre_tokenizer"])
def test_an_expression_at_which_the_library_panics_is_refused_when_it_is_read(tmp_path: Path, place: str) -> None:
    pattern = {"Regex": "(a+)+$"}
    parts = {
        "normalizer": {"type": "Replace", "pattern": pattern, "content": "b"},
        "pre_tokenizer": {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False},
    }
    message = tokenizer_refusal(tmp_path, word_piece(**{place: parts[place]}))
    assert "cannot tokenise every text: " in message
