from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from farthing.checkpoint.reader import Checkpoint
from farthing.checkpoint.writer import TensorSpec, split, write_tensors
from farthing.core.arrays import NAMES, Array
from tiers import examples

MIB = 2**20
FP32 = np.dtype(np.float32)


def specs_of(tensors: dict[str, Array]) -> list[TensorSpec]:
    return [
        TensorSpec(name, tensor.shape, tensor.dtype, lambda tensor=tensor: tensor)  # type: ignore[misc]
        for name, tensor in tensors.items()
    ]


def random_tensors(dtype: np.dtype[Any] = FP32) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    shapes = {"a": (3, 5), "layers.0.b": (7,), "empty": (0, 4), "scalar": (), "größe": (2, 3, 4)}
    return {name: np.asarray(30 * rng.random(shape)).astype(dtype) for name, shape in shapes.items()}


def header_of(file: Path) -> tuple[int, dict[str, Any]]:
    """Length of the header, length field included, and the header."""
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    return 8 + length, header


def assert_same(got: Mapping[str, Array], want: Mapping[str, Array]) -> None:
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        assert got[name].dtype == tensor.dtype
        assert np.array_equal(got[name], tensor), name


def by_library(file: Path) -> dict[str, Array]:
    """A file as safetensors' own reader gives it; bf16 as it is stored."""
    found = load_file(file)
    return {
        name: (tensor.view(torch.uint16) if tensor.dtype is torch.bfloat16 else tensor).numpy()
        for name, tensor in found.items()
    }


@pytest.mark.parametrize("dtype", NAMES, ids=NAMES.values())
def test_what_is_written_is_read_by_safetensors_and_by_the_reader(tmp_path: Path, dtype: np.dtype[Any]) -> None:
    tensors = random_tensors(dtype)
    assert write_tensors(tmp_path, specs_of(tensors)) == [tmp_path / "model.safetensors"]
    (tmp_path / "config.json").write_text("{}")
    checkpoint = Checkpoint(tmp_path)
    assert_same(by_library(tmp_path / "model.safetensors"), tensors)
    assert_same({name: checkpoint.read(name) for name in checkpoint.tensors}, tensors)


def test_a_tensor_that_is_not_contiguous_is_written_as_it_reads(tmp_path: Path) -> None:
    tensors = {"t": np.arange(12.0).reshape(3, 4).T}
    write_tensors(tmp_path, specs_of(tensors))
    assert_same(by_library(tmp_path / "model.safetensors"), tensors)


def test_a_tensor_is_written_in_pieces_of_its_rows(tmp_path: Path) -> None:
    tensors = {"before": np.ones(3, np.float32), "t": np.arange(70.0).reshape(10, 7)}
    before, whole = specs_of(tensors)
    write_tensors(tmp_path, [before, replace(whole, make=lambda: iter([tensors["t"][:4], tensors["t"][4:]]))])
    assert_same(by_library(tmp_path / "model.safetensors"), tensors)


@pytest.mark.parametrize("lost", [slice(0, 9), slice(0, 0)])
def test_pieces_that_are_not_the_whole_tensor_are_our_fault(tmp_path: Path, lost: slice) -> None:
    (spec,) = specs_of({"t": np.arange(70.0).reshape(10, 7)})
    with pytest.raises(AssertionError, match="t"):
        write_tensors(tmp_path, [replace(spec, make=lambda: iter([np.zeros((10, 7))[lost]]))])


@pytest.mark.parametrize("name_length", range(1, 10))
def test_data_starts_where_it_can_be_computed_from(tmp_path: Path, name_length: int) -> None:
    write_tensors(tmp_path, specs_of({"n" * name_length: np.ones(3, np.float32)}))
    start, header = header_of(tmp_path / "model.safetensors")
    assert start % 64 == 0
    assert header["__metadata__"] == {"format": "pt"}
    assert (tmp_path / "model.safetensors").stat().st_size == start + 12


def test_shards_are_filled_by_bytes_and_listed_in_an_index(tmp_path: Path) -> None:
    tensors = {f"t{number}": np.full(25, number, np.float32) for number in range(5)}  # 100 bytes each
    files = write_tensors(tmp_path, specs_of(tensors), shard_bytes=200)
    names = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    assert files == [tmp_path / name for name in names]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index == {
        "metadata": {"total_size": 500},
        "weight_map": {f"t{number}": names[number // 2] for number in range(5)},
    }
    assert_same({name: tensor for file in files for name, tensor in by_library(file).items()}, tensors)
    for file in files:
        assert {name for name, place in index["weight_map"].items() if place == file.name} == set(by_library(file))


def test_a_tensor_larger_than_a_shard_gets_one_of_its_own(tmp_path: Path) -> None:
    tensors = {"small": np.ones(1), "large": np.ones(100), "last": np.ones(1)}
    write_tensors(tmp_path, specs_of(tensors), shard_bytes=10)
    (tmp_path / "config.json").write_text("{}")
    assert [info.file.name[6:11] for info in Checkpoint(tmp_path).tensors.values()] == ["00001", "00002", "00003"]


@settings(max_examples=examples(50), deadline=None)
@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=20), limit=st.integers(1, 120))
def test_splitting_keeps_the_order_and_the_limit(sizes: list[int], limit: int) -> None:
    specs = [
        TensorSpec(str(number), (size,), np.dtype(np.uint8), lambda: np.empty(0)) for number, size in enumerate(sizes)
    ]
    shards = list(split(specs, limit))
    assert [spec for shard in shards for spec in shard] == specs
    assert all(shards)
    assert all(len(shard) == 1 or bytes_of(shard) <= limit for shard in shards)
    assert all(bytes_of(one) + two[0].num_bytes > limit for one, two in pairwise(shards))


def bytes_of(shard: Iterable[TensorSpec]) -> int:
    return sum(spec.num_bytes for spec in shard)


def test_each_tensor_is_made_once_in_order_and_reported_when_written(tmp_path: Path) -> None:
    events: list[str] = []

    def make(name: str) -> Callable[[], Array]:
        return lambda: events.append(f"make {name}") or np.ones(2, np.float32)  # type: ignore[func-returns-value]

    specs = [TensorSpec(name, (2,), FP32, make(name)) for name in "abc"]
    write_tensors(tmp_path, specs, shard_bytes=16, on_tensor=lambda spec: events.append(f"wrote {spec.name}"))
    assert events == ["make a", "wrote a", "make b", "wrote b", "make c", "wrote c"]


def test_what_broke_off_is_not_left_under_the_final_name(tmp_path: Path) -> None:
    def fail() -> Array:
        raise KeyboardInterrupt

    specs = [*specs_of({"a": np.ones(4)}), TensorSpec("b", (4,), FP32, fail)]
    with pytest.raises(KeyboardInterrupt):
        write_tensors(tmp_path, specs)
    assert list(tmp_path.glob("*.safetensors")) == []


@pytest.mark.parametrize("made", [np.ones(3, np.float32), np.ones(4, np.float16)])
def test_a_tensor_that_is_not_as_announced_stops_the_writing(tmp_path: Path, made: Array) -> None:
    with pytest.raises(AssertionError, match="wrong"):
        write_tensors(tmp_path, [TensorSpec("wrong", (4,), FP32, lambda: made)])


def test_num_bytes_are_those_of_the_tensor() -> None:
    for tensor in random_tensors(np.dtype(np.uint16)).values():
        (spec,) = specs_of({"t": tensor})
        assert spec.num_bytes == math.prod(tensor.shape) * 2


def test_writing_holds_one_tensor_at_a_time(tmp_path: Path, measured: Callable[..., dict[str, Any]]) -> None:
    result = measured(
        """
import numpy as np
from farthing.checkpoint.writer import TensorSpec, write_tensors

dtype = np.dtype(np.uint16)
make = lambda: np.ones(16 << 20, dtype)
specs = [TensorSpec(str(number), (16 << 20,), dtype, make) for number in range(6)]
write_tensors(Path(sys.argv[1]) / "warm", [TensorSpec("t", (8,), dtype, lambda: np.ones(8, dtype))])
before = resident_bytes()
write_tensors(Path(sys.argv[1]), specs)
print(json.dumps({"growth": peak_bytes() - before}))
""",
        tmp_path,
    )
    assert 24 * MIB <= result["growth"] <= 40 * MIB  # one of six tensors of 32 MiB


def test_one_file_over_an_earlier_larger_checkpoint_leaves_no_index(tmp_path: Path) -> None:
    def specs(count: int) -> list[TensorSpec]:
        return [TensorSpec(f"t{n}", (4,), FP32, lambda: np.zeros(4, np.float32)) for n in range(count)]

    write_tensors(tmp_path, specs(2), shard_bytes=16)
    write_tensors(tmp_path, specs(1), shard_bytes=16)
    assert not (tmp_path / "model.safetensors.index.json").exists()
