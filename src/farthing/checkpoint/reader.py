"""A model's folder: its JSON files, and its safetensors, read tensor by tensor through the page cache.

In: a local directory in the Hugging Face layout. Out: parsed JSON, tensor shapes without reading weights, and single
memory-mapped tensors. This module knows nothing of model families, reads no pickles and runs no code of the checkpoint.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from farthing.checkpoint.identity import RULES, StoredBytes, digest_model
from farthing.checkpoint.json_file import read_json, require_regular
from farthing.checkpoint.mapping import as_numbers, map_bytes
from farthing.checkpoint.model_folder import MODULES, own_folder, transformer_name
from farthing.checkpoint.remembered import remembered
from farthing.checkpoint.table import Table
from farthing.checkpoint.tokenizer_file import TOKENIZER_FILES, tokenizer_json
from farthing.core.arrays import DTYPES, Array
from farthing.core.deferred import dataclass
from farthing.core.errors import CheckpointError

INDEX = "model.safetensors.index.json"
# Files about the model as a whole and what is made of its rows; all other files are the model's own.
OF_ALL_MODULES = (MODULES, "config_sentence_transformers.json")
LENGTH_BYTES = 8  # the size of the header's length, with which a safetensors file begins
MAX_HEADER_BYTES = 16 * 2**20  # the header of a model of 400 tensors has 50 kB


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor is and what it looks like when it is read.

    Attributes:
        dtype: safetensors' own name ("F32", "BF16", ...).
        packed_as: what the file holds instead, where reading dequantises ("Q4_K", "4 bits").
    """

    file: Path
    shape: tuple[int, ...]
    dtype: str
    packed_as: str | None = None


class Checkpoint:
    """A checkpoint directory of safetensors.

    Attributes:
        folder: where config.json, weights and tokenizer lie: `path`, or below it (`own_folder`).

    Raises:
        CheckpointError: on construction, when config.json is missing or broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = own_folder(path)
        config = self.json("config.json")
        if config is None:
            raise CheckpointError(f"{path} has no config.json. Point at the folder of a Hugging Face style checkpoint.")
        if not isinstance(config, dict):
            raise CheckpointError(f"{path / 'config.json'} holds no JSON object. Download the model again.")
        self.config: dict[str, Any] = config

    def json(self, name: str) -> Any:
        """The parsed file, or None when there is no file of that name. Raises `CheckpointError`."""
        is_of_all_modules = name in OF_ALL_MODULES or "/" in name
        return read_json((self.path if is_of_all_modules else self.folder) / name)

    @cached_property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor of the checkpoint by name, from the file headers alone.

        Raises:
            CheckpointError: there are no weight files, one is missing or broken, or two hold a tensor of the same name.
        """
        found: dict[str, TensorInfo] = {}
        for file in self._weight_files():
            try:
                read_header(file)  # refuses what is no file, or has a huge header, before the library meets it
                with safe_open(file, framework="np") as shard:
                    for name in shard.keys():  # noqa: SIM118 - not a mapping
                        if name in found:
                            raise CheckpointError(
                                f"{file} and {found[name].file.name} both hold {name}. Keep one set of weights there."
                            )
                        view = shard.get_slice(name)
                        found[name] = TensorInfo(file, tuple(view.get_shape()), view.get_dtype())
            except (SafetensorError, OSError) as error:
                raise CheckpointError(
                    f"{file} is not a whole safetensors file ({error}). Download it again."
                ) from error
        return found

    def read(self, name: str) -> Array:
        """The tensor as stored, mapped from the file; its pages are given back when the array is freed.

        Each call maps it anew: a mapping that outlived its array would keep every page read so far resident.

        Raises:
            CheckpointError: the file cannot be read any more, or the tensor is of a dtype that numpy does not have.
        """
        info, (start, num_bytes) = self.tensors[name], self._places[name]
        return as_numbers(map_bytes(info.file, start, num_bytes), dtype_of(name, info), info.shape)

    def rows(self, name: str) -> Table:
        """The matrix, as `read` gives it: a mapped array's rows are gathered where they lie."""
        return self.read(name)

    def map(self, names: Iterable[str]) -> dict[str, Array]:
        """Tensors as stored, by name, on one mapping of each file, which lives as long as any of the arrays.

        Raises what `read` raises.
        """
        by_file: dict[Path, list[str]] = {}
        for name in names:
            by_file.setdefault(self.tensors[name].file, []).append(name)
        found: dict[str, Array] = {}
        for file, held in by_file.items():
            end = max(sum(self._places[name]) for name in held)
            octets = map_bytes(file, 0, end)
            for name in held:
                (start, num_bytes), info = self._places[name], self.tensors[name]
                found[name] = as_numbers(octets[start : start + num_bytes], dtype_of(name, info), info.shape)
        return found

    @cached_property
    def _places(self) -> Mapping[str, tuple[int, int]]:
        """The start and length in bytes of each tensor in its file."""
        files = {info.file for info in self.tensors.values()}
        return {name: place for file in files for name, place in tensor_places(file).items()}

    @cached_property
    def fingerprint(self) -> str:
        """The `farthing.checkpoint.identity.digest_model` of config.json, all tensors, and tokenizer.json."""
        others = [self.folder / name for name in (*TOKENIZER_FILES, INDEX)]
        return remembered([*self._weight_files(), *others], [RULES, self.config], self._digest)

    def _digest(self) -> str:
        stored = {
            name: StoredBytes(info.file, *self._places[name], f"{info.shape} {info.dtype}")
            for name, info in self.tensors.items()
        }
        return digest_model(self.config, stored, tokenizer_json(self.path))

    def write_configuration(self, folder: Path) -> None:
        """Copy the JSON files that say what the model is, how its vectors are made and how it splits texts.

        The copies are placed as if the model's own files lay in the folder that was named, since its weights will.
        """
        above = [] if self.folder == self.path else [self.path / name for name in OF_ALL_MODULES]
        of_modules = [file for file in self.path.glob("*/config.json") if file.parent != self.folder]
        for file in [*above, *self.folder.glob("*.json"), *of_modules]:
            if file.name != INDEX and file.is_file():
                copy = folder / (file.relative_to(self.path) if file in of_modules else file.name)
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, copy)  # a hub's cache holds links, which this follows
        if self.folder != self.path:
            modules = [{**module, "path": ""} if transformer_name(module) else module for module in self.json(MODULES)]
            (folder / MODULES).write_text(json.dumps(modules, indent=1), encoding="utf-8")

    def _weight_files(self) -> list[Path]:
        """The weight files: model.safetensors where it is whole, else the shards of the index, else all *.safetensors.

        The index of an earlier copy may have stayed beside weights that were saved in one file since; transformers,
        too, reads the one file first.
        """
        single = self.folder / "model.safetensors"
        if single.is_file() and not self._has_index_that_names(single.name):
            return [single]
        index = self.json(INDEX)
        if index is not None:
            names = shard_names(index, self.folder)
            missing = [name for name in names if not (self.folder / name).is_file()]
            if missing:
                raise CheckpointError(f"{self.folder} lacks {', '.join(missing)}. Download the model again.")
            return [self.folder / name for name in names]
        files = sorted(self.folder.glob("*.safetensors"))
        if not files:
            raise CheckpointError(
                f"{self.folder} has no *.safetensors. Only safetensors are read, never pickled weights "
                "(pytorch_model.bin): convert the model, or take one that offers safetensors."
            )
        return files

    def _has_index_that_names(self, file: str) -> bool:
        """Whether the file is one of several in which the model lies."""
        index = self.json(INDEX)
        weight_map = index.get("weight_map") if isinstance(index, dict) else None
        return isinstance(weight_map, dict) and file in weight_map.values()


def dtype_of(name: str, info: TensorInfo) -> np.dtype[Any]:
    if info.dtype not in DTYPES:
        raise CheckpointError(
            f"{info.file}: {name} is stored as {info.dtype}, which is not read. Take the model in F32, F16 or BF16."
        )
    return DTYPES[info.dtype]


def shard_names(index: Any, path: Path) -> list[str]:
    """The files that a parsed model.safetensors.index.json names; at least one."""
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    # Only plain names are taken: a path could lead out of the folder.
    if not (isinstance(weight_map, dict) and weight_map) or not all(
        isinstance(name, str) and name == PurePath(name).name for name in weight_map.values()
    ):
        raise CheckpointError(f"{path / INDEX} maps no tensors to files (weight_map). Download the model again.")
    return sorted(set(weight_map.values()))


def read_header(file: Path) -> tuple[bytes, int]:
    """The JSON of a safetensors file's header, and where its tensors begin.

    Raises:
        CheckpointError: the file is no regular file, is cut short, or its header is longer than `MAX_HEADER_BYTES`.
    """
    require_regular(file)
    with file.open("rb") as stream:
        num_bytes = int.from_bytes(stream.read(LENGTH_BYTES), "little")
        if num_bytes > MAX_HEADER_BYTES:
            raise CheckpointError(
                f"{file} is not a whole safetensors file (a header of {num_bytes:,} bytes, where {MAX_HEADER_BYTES:,} "
                "can be read). Download it again."
            )
        return stream.read(num_bytes), LENGTH_BYTES + num_bytes


def tensor_places(file: Path) -> dict[str, tuple[int, int]]:
    """The start and length in bytes of each tensor, by name, in a file that was opened before."""
    header, start = read_header(file)
    return {
        name: (start + entry["data_offsets"][0], entry["data_offsets"][1] - entry["data_offsets"][0])
        for name, entry in json.loads(header).items()
        if name != "__metadata__"
    }
