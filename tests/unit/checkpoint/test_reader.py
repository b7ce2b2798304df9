from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from farthing.checkpoint.reader import Checkpoint
from farthing.core.arrays import DTYPES, Array
from farthing.core.errors import CheckpointError

MIB = 2**20
INDEX = "model.safetensors.index.json"


def save(path: Path, tensors: dict[str, torch.Tensor], file: str = "model.safetensors", **config: object) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    save_file(tensors, path / file)
    return path


def from_numpy(array: Array, dtype: torch.dtype) -> torch.Tensor:
    """The array on the same memory; warnings are errors, so it also shows that torch takes such arrays."""
    return torch.from_numpy(array.view(np.int16) if dtype is torch.bfloat16 else array).view(dtype)


def save_index(path: Path, content: object) -> None:
    (path / INDEX).write_text(json.dumps(content))


def message(path: Path) -> str:
    """Of the error on opening the checkpoint and listing its tensors."""
    with pytest.raises(CheckpointError) as caught:
        Checkpoint(path).tensors  # noqa: B018 - reads the headers
    return str(caught.value)


def test_tensors_are_listed_from_the_headers_and_read_as_stored(tmp_path: Path) -> None:
    tensors = {
        "half": torch.randn(3, 4).bfloat16(),
        "full": torch.randn(5),
        "whole": torch.arange(6, dtype=torch.int64),
    }
    checkpoint = Checkpoint(save(tmp_path, tensors))
    listed = {name: (info.file.name, info.shape, info.dtype) for name, info in checkpoint.tensors.items()}
    assert listed == {
        "half": ("model.safetensors", (3, 4), "BF16"),
        "full": ("model.safetensors", (5,), "F32"),
        "whole": ("model.safetensors", (6,), "I64"),
    }
    for name, tensor in tensors.items():
        got = checkpoint.read(name)
        assert type(got) is np.ndarray
        assert got.dtype == DTYPES[checkpoint.tensors[name].dtype]
        assert torch.equal(from_numpy(got, tensor.dtype), tensor)


def test_arrays_of_one_file_lie_on_one_mapping_when_they_are_mapped_together(tmp_path: Path) -> None:
    checkpoint = Checkpoint(save(tmp_path, {"a": torch.arange(6.0), "b": torch.arange(3).half(), "c": torch.ones(2)}))
    found = checkpoint.map(["a", "b"])
    assert {name: array.tolist() for name, array in found.items()} == {"a": [0, 1, 2, 3, 4, 5], "b": [0, 1, 2]}
    addresses = {name: array.ctypes.data for name, array in found.items()}
    places = {name: checkpoint._places[name][0] for name in found}
    assert addresses["a"] - addresses["b"] == places["a"] - places["b"]
    assert checkpoint.read("a").ctypes.data not in addresses.values()


def test_a_tensor_that_begins_at_an_odd_place_is_read_as_it_is(tmp_path: Path) -> None:
    """Our own files and today's libraries' begin at multiples of 8; a header of any length is allowed."""
    values = np.arange(5, dtype=np.float32)
    header = b'{"a":{"dtype":"F32","shape":[5],"data_offsets":[0,20]}}'
    header += b" " * (3 - len(header) % 4 + 4)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + values.tobytes())
    for got in (Checkpoint(tmp_path).read("a"), Checkpoint(tmp_path).map(["a"])["a"]):
        assert got.flags.aligned
        assert got.tolist() == values.tolist()


def test_a_dtype_that_is_not_read_is_named(tmp_path: Path) -> None:
    checkpoint = Checkpoint(save(tmp_path, {"a": torch.ones(2).to(torch.float8_e4m3fn)}))
    assert checkpoint.tensors["a"].dtype == "F8_E4M3"
    with pytest.raises(CheckpointError, match="a is stored as F8_E4M3, which is not read"):
        checkpoint.read("a")


def test_a_file_that_was_cut_short_after_it_was_opened_is_named(tmp_path: Path) -> None:
    checkpoint = Checkpoint(save(tmp_path, {"a": torch.ones(9000)}))
    file = checkpoint.tensors["a"].file
    checkpoint.fingerprint  # noqa: B018 - reads the header
    file.write_bytes(file.read_bytes()[:9000])
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read: .* Check the disk"):
        checkpoint.read("a")


def test_json_files_are_parsed_and_missing_ones_are_none(tmp_path: Path) -> None:
    checkpoint = Checkpoint(save(tmp_path, {}, name="größe"))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"a": [1]}')
    assert checkpoint.config == {"name": "größe"}
    assert checkpoint.json("1_Pooling/config.json") == {"a": [1]}
    assert checkpoint.json("modules.json") is None


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    assert message(tmp_path).startswith(f"{tmp_path} has no config.json.")
    assert message(tmp_path / "no") == message(tmp_path).replace(str(tmp_path), str(tmp_path / "no"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{", "cannot be read: Expecting property name"),
        (b"", "cannot be read: Expecting value"),
        (b'{"a": "\xff"}', "cannot be read: 'utf-8' codec can't decode"),
        (b"[]", "holds no JSON object"),
        (b"null", "has no config.json"),
    ],
)
def test_a_broken_config_is_named_with_the_reason(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    assert expected in message(tmp_path)
    assert str(tmp_path) in message(tmp_path)


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    assert message(tmp_path).startswith(f"{tmp_path / 'config.json'} cannot be read: it is no plain file")


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    torch.save({"weight": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    assert "has no *.safetensors. Only safetensors are read, never pickled weights" in message(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 40, 100, -1])
def test_a_truncated_file_is_named(tmp_path: Path, keep: int) -> None:
    file = save(tmp_path, {"weight": torch.ones(64, 64)}) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert message(tmp_path).startswith(f"{file} is not a whole safetensors file (")
    assert message(tmp_path).endswith("Download it again.")


def test_what_is_no_safetensors_file_is_named(tmp_path: Path) -> None:
    file = save(tmp_path, {}) / "model.safetensors"
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1000\n")
    assert message(tmp_path).startswith(f"{file} is not a whole safetensors file (")


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    save(tmp_path, {"a": torch.ones(1)}, "one.safetensors")
    save(tmp_path, {"b": torch.ones(2)}, "two.safetensors")
    save(tmp_path, {"c": torch.ones(3)}, "not-in-the-index.safetensors")
    save_index(tmp_path, {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})
    checkpoint = Checkpoint(tmp_path)
    assert {name: info.file.name for name, info in checkpoint.tensors.items()} == {
        "a": "one.safetensors",
        "b": "two.safetensors",
    }
    assert checkpoint.read("b").tolist() == [1, 1]


def test_missing_shards_are_named(tmp_path: Path) -> None:
    save(tmp_path, {"a": torch.ones(1)}, "one.safetensors")
    save_index(tmp_path, {"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "three.safetensors"}})
    assert message(tmp_path) == f"{tmp_path} lacks three.safetensors, two.safetensors. Download the model again."


@pytest.mark.parametrize("content", [{}, [], {"weight_map": []}, {"weight_map": {"a": 1}}])
def test_an_index_that_maps_nothing_is_named(tmp_path: Path, content: object) -> None:
    save(tmp_path, {"a": torch.ones(1)}, "one.safetensors")
    save_index(tmp_path, content)
    assert message(tmp_path).startswith(f"{tmp_path / INDEX} maps no tensors to files")


STALE = [{}, {"weight_map": {}}, {"weight_map": []}, {"weight_map": {"a": "model-00001-of-00002.safetensors"}}]


@pytest.mark.parametrize("content", STALE)
def test_an_index_of_earlier_shards_beside_the_whole_model_does_not_count(tmp_path: Path, content: object) -> None:
    save(tmp_path, {"a": torch.ones(1)})
    save(tmp_path, {"a": torch.zeros(1), "b": torch.zeros(1)}, "model-00002-of-00002.safetensors")
    save_index(tmp_path, content)
    checkpoint = Checkpoint(tmp_path)
    assert {name: info.file.name for name, info in checkpoint.tensors.items()} == {"a": "model.safetensors"}


def test_an_index_that_names_the_whole_models_file_too_counts(tmp_path: Path) -> None:
    save(tmp_path, {"a": torch.ones(1)})
    save(tmp_path, {"b": torch.ones(1)}, "more.safetensors")
    save_index(tmp_path, {"weight_map": {"a": "model.safetensors", "b": "more.safetensors"}})
    assert set(Checkpoint(tmp_path).tensors) == {"a", "b"}


def old_folder(path: Path, name: str = "0_Transformer", **config: object) -> Path:
    """As early versions of sentence-transformers wrote a model: its own files in a folder below."""
    path.mkdir(exist_ok=True)
    save(path / name, {"a": torch.ones(1)}, **config)
    (path / name / "tokenizer.json").write_text('{"model": "a"}')
    (path / name / "sentence_bert_config.json").write_text('{"max_seq_length": 50}')
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    modules = [
        {"idx": 0, "name": "0", "path": name, "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "config_sentence_transformers.json").write_text('{"prompts": {"query": "Q: "}}')
    return path


def test_a_models_own_files_are_read_where_modules_json_says(tmp_path: Path) -> None:
    checkpoint = Checkpoint(old_folder(tmp_path, hidden_size=7))
    assert checkpoint.config == {"hidden_size": 7}
    assert checkpoint.read("a").tolist() == [1]
    assert checkpoint.json("sentence_bert_config.json") == {"max_seq_length": 50}
    assert checkpoint.json("1_Pooling/config.json") == {"pooling_mode": "cls"}
    assert checkpoint.json("config_sentence_transformers.json") == {"prompts": {"query": "Q: "}}
    before = checkpoint.fingerprint
    (tmp_path / "0_Transformer" / "tokenizer.json").write_text('{"model": "b"}')
    assert Checkpoint(tmp_path).fingerprint != before


def test_beside_other_weights_the_files_of_a_folder_below_lie_in_the_folder_itself(tmp_path: Path) -> None:
    checkpoint = Checkpoint(old_folder(tmp_path / "old", hidden_size=7))
    out = save(tmp_path / "new", {"a": torch.ones(1)})
    checkpoint.write_configuration(out)
    written = Checkpoint(out)
    assert written.folder == out
    assert written.config == {"hidden_size": 7}
    for name in ("sentence_bert_config.json", "tokenizer.json", "1_Pooling/config.json"):
        assert written.json(name) == checkpoint.json(name)
    assert [module["path"] for module in written.json("modules.json")] == ["", "1_Pooling"]
    assert not (out / "0_Transformer").exists()


@pytest.mark.parametrize("name", ["..", "../other", "/tmp", "a/b", "nothing", "", 5, None, "a\0b"])
def test_a_folder_that_is_not_plainly_below_is_not_gone_to(tmp_path: Path, name: object) -> None:
    save(tmp_path / "other", {}, of="the other")
    path = save(tmp_path / "model", {}, of="the model")
    modules = [{"type": "sentence_transformers.models.Transformer", "path": name}]
    (path / "modules.json").write_text(json.dumps(modules))
    assert Checkpoint(path).config == {"of": "the model"}


def test_a_tensor_in_two_files_is_refused_rather_than_guessed(tmp_path: Path) -> None:
    save(tmp_path, {"a": torch.ones(1)}, "one.safetensors")
    save(tmp_path, {"a": torch.zeros(1)}, "two.safetensors")
    assert message(tmp_path) == (
        f"{tmp_path / 'two.safetensors'} and one.safetensors both hold a. Keep one set of weights there."
    )


def test_other_weights_beside_the_published_file_are_left_alone(tmp_path: Path) -> None:
    save(tmp_path, {"a": torch.zeros(1)}, "adapter_model.safetensors")
    save(tmp_path, {"a": torch.ones(1)})
    assert Checkpoint(tmp_path).read("a").tolist() == [1]


def test_a_tensor_outlives_the_checkpoint_and_the_file(tmp_path: Path) -> None:
    tensor = Checkpoint(save(tmp_path, {"a": torch.arange(4.0)})).read("a")
    shutil.rmtree(tmp_path)
    assert tensor.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_the_fingerprint_is_the_same_for_the_same_files(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(100_000.0), "b": torch.ones(3)}
    one = Checkpoint(save(tmp_path / "one", tensors, layers=2)).fingerprint
    assert one == Checkpoint(save(tmp_path / "two", tensors, layers=2)).fingerprint
    assert one == Checkpoint(tmp_path / "one").fingerprint
    assert len(one) == 16
    assert int(one, 16) >= 0


def test_the_order_of_keys_in_the_config_does_not_count(tmp_path: Path) -> None:
    path = save(tmp_path, {"a": torch.ones(1)}, x=1, y=2)
    before = Checkpoint(path).fingerprint
    (path / "config.json").write_text('{"y": 2, "x": 1}')
    assert Checkpoint(path).fingerprint == before


@pytest.mark.parametrize(
    ("tensors", "config"),
    [
        ({"a": torch.ones(2, 3), "b": torch.zeros(5)}, {"layers": 3}),
        ({"a": torch.ones(2, 3), "c": torch.zeros(5)}, {"layers": 2}),
        ({"a": torch.ones(3, 2), "b": torch.zeros(5)}, {"layers": 2}),
        ({"a": torch.ones(2, 3).int(), "b": torch.zeros(5)}, {"layers": 2}),
        ({"a": torch.ones(2, 3)}, {"layers": 2}),
    ],
    ids=["config", "name", "shape", "dtype", "fewer tensors"],
)
def test_the_fingerprint_tells_models_apart(
    tmp_path: Path, tensors: dict[str, torch.Tensor], config: dict[str, object]
) -> None:
    original = save(tmp_path / "original", {"a": torch.ones(2, 3), "b": torch.zeros(5)}, layers=2)
    other = save(tmp_path / "other", tensors, **config)
    assert Checkpoint(other).fingerprint != Checkpoint(original).fingerprint


@pytest.mark.parametrize("place", [0, 7_000, 9_999])
def test_any_changed_weight_of_a_small_file_changes_the_fingerprint(tmp_path: Path, place: int) -> None:
    weights = torch.zeros(10_000)
    before = Checkpoint(save(tmp_path / "before", {"a": weights})).fingerprint
    weights[place] = 1e-30
    assert Checkpoint(save(tmp_path / "after", {"a": weights})).fingerprint != before


def test_a_fine_tune_of_a_large_file_changes_the_fingerprint(tiny_qwen3: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny_qwen3 / "model.safetensors")
    tensors["layers.2.mlp.down_proj.weight"] *= 1.01
    shutil.copy(tiny_qwen3 / "config.json", tmp_path)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    config = json.loads((tiny_qwen3 / "config.json").read_text())
    unchanged = save(tmp_path / "unchanged", load_file(tiny_qwen3 / "model.safetensors"), **config)
    assert Checkpoint(tmp_path).fingerprint != Checkpoint(unchanged).fingerprint


def test_reading_holds_one_tensor_at_a_time(tmp_path: Path, measured: Callable[..., dict[str, Any]]) -> None:
    save(tmp_path, {str(number): torch.full((8 << 20,), float(number)) for number in range(6)})
    result = measured(
        """
from farthing.checkpoint.reader import Checkpoint

checkpoint = Checkpoint(Path(sys.argv[1]))
first = {name: checkpoint.read(name)[0].item() for name in checkpoint.tensors}
before = resident_bytes()
sums = {name: checkpoint.read(name).sum().item() for name in checkpoint.tensors}
print(json.dumps({"growth": peak_bytes() - before, "kept": resident_bytes() - before, "first": first}))
""",
        tmp_path,
    )
    assert result["first"] == {str(number): float(number) for number in range(6)}
    assert 24 * MIB <= result["growth"] <= 40 * MIB  # one of six tensors of 32 MiB
    assert result["kept"] <= 4 * MIB
