from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from farthing.checkpoint import identity
from farthing.checkpoint.identity import NUM_PLACES, PLACE_BYTES, WHOLE_TENSOR_BYTES, pieces
from farthing.checkpoint.reader import Checkpoint
from farthing.checkpoint.writer import TensorSpec, write_tensors

INDEX = "model.safetensors.index.json"
# One of each kind of tensor; the last is too large to count in full, in a model that is too large itself.
SHAPES = {"norm": (384,), "bias": (1536,), "scales": (64, 8), "scalar": (), "table": (2000, 200)}
SAMPLED = "table"


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model of these tests is as one that is too large to be read in full."""
    monkeypatch.setattr(identity, "WHOLE_MODEL_BYTES", 0)


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def save(path: Path, held: dict[str, torch.Tensor], file: str = "model.safetensors", **config: object) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({"layers": 2, **config}))
    (path / "tokenizer.json").write_text('{"normalizer": {"lowercase": true}}')
    save_file(held, path / file)
    return path


@pytest.mark.parametrize("name", [name for name in SHAPES if name != SAMPLED])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0], ids=["first", "middle", "last"])
def test_any_number_of_a_small_tensor_counts(tmp_path: Path, name: str, place: float) -> None:
    before = Checkpoint(save(tmp_path / "before", tensors())).fingerprint
    changed = tensors()
    flat = changed[name].view(-1)
    flat[round(place * (len(flat) - 1))] += 1e-6
    assert Checkpoint(save(tmp_path / "after", changed)).fingerprint != before


@pytest.mark.parametrize("block", range(0, 100, 9))
def test_a_block_of_a_large_tensor_counts_wherever_it_lies(tmp_path: Path, block: int) -> None:
    before = Checkpoint(save(tmp_path / "before", tensors())).fingerprint
    changed = tensors()
    assert changed[SAMPLED].nbytes > WHOLE_TENSOR_BYTES
    changed[SAMPLED][20 * block : 20 * block + 40] += 1e-6  # a 50th of it
    assert Checkpoint(save(tmp_path / "after", changed)).fingerprint != before


def test_a_model_that_is_small_in_all_counts_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    before = Checkpoint(save(tmp_path / "before", tensors())).fingerprint
    changed = tensors()
    changed[SAMPLED][1234, 56] += 1e-6
    assert Checkpoint(save(tmp_path / "after", changed)).fingerprint != before


def swap_names(path: Path) -> None:
    held = load_file(path / "model.safetensors")
    held["norm"], held["other"] = held["norm"].clone(), held.pop("bias")
    save_file(held, path / "model.safetensors")


def swap_contents(path: Path) -> None:
    held = load_file(path / "model.safetensors")
    held["a"], held["b"] = torch.ones(3), torch.zeros(3)
    save_file(held, path / "model.safetensors")
    once = Checkpoint(path).fingerprint
    held["a"], held["b"] = held["b"], held["a"]
    save_file(held, path / "model.safetensors")
    assert Checkpoint(path).fingerprint != once


CHANGES: dict[str, Callable[[Path], object]] = {
    "config": lambda path: (path / "config.json").write_text('{"layers": 3}'),
    "tokenizer": lambda path: (path / "tokenizer.json").write_text('{"normalizer": {"lowercase": false}}'),
    "no tokenizer": lambda path: (path / "tokenizer.json").unlink(),
    "a tensor's name": swap_names,
    "which tensor holds what": swap_contents,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_else_makes_another_model(tmp_path: Path, change: Callable[[Path], object]) -> None:
    path = save(tmp_path / "a", tensors())
    before = Checkpoint(path).fingerprint
    change(path)
    assert Checkpoint(path).fingerprint != before


def rename(path: Path) -> Path:
    return path.rename(path.with_name("another"))


def rename_file(path: Path) -> Path:
    (path / "model.safetensors").rename(path / "weights.safetensors")
    return path


def rewritten(path: Path, shard_bytes: int, *, reverse: bool = False) -> Path:
    held = load_file(path / "model.safetensors")
    names = sorted(held, reverse=reverse)
    arrays = {name: held[name].numpy() for name in names}
    specs = [
        TensorSpec(name, array.shape, array.dtype, lambda array=array: array)  # type: ignore[misc]
        for name, array in arrays.items()
    ]
    (path / "model.safetensors").unlink()
    write_tensors(path, specs, shard_bytes=shard_bytes)
    return path


def with_words(path: Path) -> Path:
    (path / "README.md").write_text("a model")
    (path / "vocab.txt").write_text("[PAD]")
    (path / "generation_config.json").write_text("{}")
    return path


def with_origin(path: Path) -> Path:
    content: dict[str, Any] = json.loads((path / "config.json").read_text())
    content = {"_name_or_path": "/home/somebody/model", "transformers_version": "4.30.0", **content}
    (path / "config.json").write_text(json.dumps(content, indent=3))
    return path


def touched(path: Path) -> Path:
    (path / "model.safetensors").touch()
    return path


SAME: dict[str, Callable[[Path], Path]] = {
    "another folder": rename,
    "another file name": rename_file,
    "another order of tensors": lambda path: rewritten(path, 10**9, reverse=True),
    "several files": lambda path: rewritten(path, 10_000),
    "files that are not read": with_words,
    "who wrote the config": with_origin,
    "the time": touched,
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_what_does_not_make_another_model(tmp_path: Path, change: Callable[[Path], Path]) -> None:
    path = save(tmp_path / "a", tensors())
    before = Checkpoint(path).fingerprint
    assert Checkpoint(change(path)).fingerprint == before


def test_several_files_are_several(tmp_path: Path) -> None:
    assert len(list(rewritten(save(tmp_path / "a", tensors()), 10_000).glob("*.safetensors"))) > 1


def test_it_is_the_same_everywhere(tmp_path: Path) -> None:
    held = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(3, dtype=torch.int64)}
    assert Checkpoint(save(tmp_path / "a", held)).fingerprint == "fe61f10a05a138e0"


@pytest.mark.parametrize("size", [WHOLE_TENSOR_BYTES + 1, 10**7 + 1, 10**10])
def test_pieces_are_spread_evenly_from_the_first_byte_to_the_last(size: int) -> None:
    found = list(pieces(size, in_full=False))
    ends = [start + length for start, length in found]
    assert (len(found), found[0][0], ends[-1]) == (NUM_PLACES, 0, size)
    assert {length for _, length in found} == {PLACE_BYTES}
    gaps = [start - end for (start, _), end in zip(found[1:], ends, strict=False)]
    assert max(gaps) - min(gaps) <= 1
    assert max(gaps) < size / (NUM_PLACES - 1)


@pytest.mark.parametrize("size", [0, 1, WHOLE_TENSOR_BYTES, 3 * WHOLE_TENSOR_BYTES + 5])
def test_all_of_a_tensor_is_read_where_it_counts_in_full(size: int) -> None:
    found = list(pieces(size, in_full=True))
    assert sum(length for _, length in found) == size
    assert all(start + length == following for (start, length), (following, _) in pairwise(found))


def test_little_is_read_of_a_large_model_and_nothing_stays(
    tmp_path: Path, measured: Callable[..., dict[str, Any]]
) -> None:
    save(tmp_path, {str(number): torch.full((16 << 20,), float(number)) for number in range(3)})
    result = measured(
        """
from farthing.checkpoint.reader import Checkpoint

def read_bytes():
    return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])

checkpoint = Checkpoint(Path(sys.argv[1]))
checkpoint.tensors
memory, read = peak_bytes(), read_bytes()
checkpoint.fingerprint
print(json.dumps({"growth": peak_bytes() - memory, "read": read_bytes() - read}))
""",
        tmp_path,
    )
    assert result["read"] <= 2 * 2**20  # of 192 MiB
    assert result["growth"] <= 8 * 2**20


def test_one_file_of_a_model_that_is_gone_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a", tensors())
    checkpoint = Checkpoint(path)
    checkpoint.tensors  # noqa: B018 - reads the headers
    with (path / "model.safetensors").open("r+b") as stream:
        stream.truncate(100_000)
    with pytest.raises(identity.CheckpointError, match="is cut short"):
        checkpoint.fingerprint  # noqa: B018
