"""What the metadata of a GGUF file may say: each value is read, or refused with one sentence."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from quantised_files import default_metadata, write_gguf

from farthing.core.errors import CheckpointError, FarthingError
from farthing.core.settings import EngineSettings
from farthing.engine.describe import describe_model
from farthing.engine.weights.load import load_model
from farthing.serving.text.tokenizer import TextTokenizer

SETTINGS = EngineSettings(device="cpu", memory="none", min_fidelity=0)
KEYS = [*default_metadata(), "split.count", "qwen3.attention.causal", "qwen3.rope.scaling.type", "general.architecture"]


def value(kind: int, content: bytes) -> bytes:
    return struct.pack("<I", kind) + content


def text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


# By GGUF's numbers of types: 4 and 10 are whole numbers of 32 and 64 bits, 6 a float, 7 a bool, 8 a text, 9 an array.
VALUES = {
    "a text": value(8, text(b"text")),
    "no text": value(8, text(b"")),
    "a long text": value(8, text(b"x" * 100_000)),
    "0": value(4, struct.pack("<I", 0)),
    "2^31": value(4, struct.pack("<I", 2**31)),
    "2^64-1": value(10, struct.pack("<Q", 2**64 - 1)),
    "-1": value(5, struct.pack("<i", -1)),
    "NaN": value(6, struct.pack("<f", float("nan"))),
    "Inf": value(6, struct.pack("<f", float("inf"))),
    "-Inf": value(6, struct.pack("<f", float("-inf"))),
    "1e30": value(6, struct.pack("<f", 1e30)),
    "true": value(7, b"\x01"),
    "an array of texts": value(9, struct.pack("<IQ", 8, 2) + text(b"a") + text(b"b c")),
    "an array of numbers": value(9, struct.pack("<IQ3I", 4, 3, 1, 2, 3)),
    "an empty array": value(9, struct.pack("<IQ", 8, 0)),
}


def with_value(content: bytes, key: str, new: bytes) -> bytes:
    """The file with one more pair before its others; a reader takes the one of a name that comes last."""
    start = 24  # magic, version, numbers of tensors and of pairs
    num_pairs = struct.unpack_from("<Q", content, 16)[0]
    pair = text(key.encode()) + new
    pair += text(b"padding") + value(8, text(b"x" * (-(len(pair) + 8 + 7 + 4 + 8) % 32)))
    renamed = content[start:].replace(text(key.encode()), text(b"x" * len(key)), 1)
    return content[:16] + struct.pack("<Q", num_pairs + 2) + pair + renamed


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = write_gguf(tmp_path_factory.mktemp("gguf") / "good.gguf", "Q8_0").path
    load_model(path, SETTINGS)
    return path.read_bytes()


@pytest.mark.parametrize("key", KEYS)
def test_whatever_a_key_says(good: bytes, tmp_path: Path, key: str) -> None:
    path = tmp_path / "model.gguf"
    for new in VALUES.values():
        path.write_bytes(with_value(good, key, new))
        said = ""
        try:
            described = describe_model(path, SETTINGS)
            assert len(described.identity) == 16
            TextTokenizer(path, vocab=described.spec.vocab, end_token=described.embedding.end_token)
        except FarthingError as error:
            said = str(error)
        assert "\n" not in said
        assert len(said) < 2000


@pytest.mark.parametrize("name", ["Inf", "-Inf", "NaN", "0", "1e30", "a text"])
def test_an_eps_that_makes_zeros_of_every_vector_is_refused(good: bytes, tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(with_value(good, "qwen3.attention.layer_norm_rms_epsilon", VALUES[name]))
    with pytest.raises(CheckpointError):
        describe_model(path, SETTINGS)


def test_layers_that_no_model_has_are_refused_before_anything_is_planned(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(with_value(good, "qwen3.block_count", VALUES["2^31"]))
    with pytest.raises(CheckpointError, match="num_hidden_layers is 2147483648; at most 1,000 can be computed"):
        describe_model(path, SETTINGS)
    path.write_bytes(with_value(good, "split.count", VALUES["a text"]))
    with pytest.raises(CheckpointError, match=r"split\.count is 'text', which is no whole number"):
        describe_model(path, SETTINGS)
