"""A GGUF file as a checkpoint: its tensors dequantised one by one, under the names of a safetensors checkpoint.

In: a file of an architecture in `farthing.checkpoint.gguf.config`. Out: `ModelFiles`. A matrix is read through a
mapping of its own, which goes when the matrix has been dequantised; plain tensors are used where they are mapped.
Nothing is computed on quantised blocks: what is read is converted into the weight format that was asked for, like any
checkpoint.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from farthing.checkpoint.gguf.blocks import BlockType, block_type
from farthing.checkpoint.gguf.config import architecture_of, config_of, pooling_files, stored_name
from farthing.checkpoint.gguf.header import GgufTensor, read_header
from farthing.checkpoint.gguf.tokenizer import is_built
from farthing.checkpoint.identity import RULES, StoredBytes, digest_model
from farthing.checkpoint.mapping import as_numbers, map_bytes
from farthing.checkpoint.reader import TensorInfo
from farthing.checkpoint.remembered import remembered
from farthing.checkpoint.stated_dtype import STATED
from farthing.checkpoint.table import QuantisedTable, Table, dequantised
from farthing.checkpoint.tokenizer_file import read_if_there, tokenizer_json
from farthing.core.arrays import NAMES, Array
from farthing.core.errors import CheckpointError

TABLE = "token_embd.weight"
DEQUANTISED = np.dtype(np.float32)


class GgufCheckpoint:
    """`ModelFiles` of a GGUF file; `path` is the file.

    Raises:
        CheckpointError: on construction, when the file is damaged, or asks for something that is not supported.
        UnknownArchitectureError: on construction, when no family computes the model.
        MissingExtraError: on construction, when the values are quantised and the gguf package is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        header = read_header(path)
        metadata = header.metadata
        row = architecture_of(metadata)
        self._types = {number: block_type(number) for number in {tensor.type for tensor in header.tensors}}
        self._stored = {stored_name(tensor.name, row): tensor for tensor in header.tensors}
        for tensor in header.tensors:
            self._check(tensor, header.file_bytes)
        table = next((tensor for tensor in header.tensors if tensor.name == TABLE), None)
        if table is None:
            raise CheckpointError(f"{path} has no {TABLE}, so it holds no whole model. Download it again.")
        self.config = config_of(metadata, table.shape[0], STATED[self._types[table.type].plain or DEQUANTISED])
        self._json = pooling_files(metadata)

    def json(self, name: str) -> Any:
        """The content of that file in a safetensors checkpoint of the model, as far as the metadata tell it."""
        return self._json.get(name)

    @cached_property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """The tensors by name, as `read` gives them."""
        kinds = {name: self._types[tensor.type] for name, tensor in self._stored.items()}
        return {
            name: TensorInfo(
                self.path,
                self._stored[name].shape,
                NAMES[kind.plain or DEQUANTISED],
                None if kind.plain else kind.name,
            )
            for name, kind in kinds.items()
        }

    def read(self, name: str) -> Array:
        """The tensor as stored, mapped from the file, or dequantised to fp32."""
        tensor = self._stored[name]
        kind = self._types[tensor.type]
        if kind.plain is not None:
            return as_numbers(map_bytes(self.path, tensor.offset, num_bytes(tensor, kind)), kind.plain, tensor.shape)
        blocks, width = self._map(tensor, kind), tensor.shape[-1]
        return dequantised(len(blocks), width, lambda rows: dequantise(blocks[rows], kind)).reshape(tensor.shape)

    def rows(self, name: str) -> Table:
        """The matrix for gathering rows, which are only then dequantised; the file stays mapped."""
        tensor = self._stored[name]
        kind = self._types[tensor.type]
        if kind.plain is not None:
            return self.read(name)
        blocks = self._map(tensor, kind)
        return QuantisedTable(len(blocks), tensor.shape[-1], lambda rows: dequantise(blocks[rows], kind))

    @cached_property
    def fingerprint(self) -> str:
        """The `farthing.checkpoint.identity.digest_model` of config, blocks as they are stored, and tokenizer."""
        files = [self.path, self.path.with_name("tokenizer.json")]
        return remembered(files, [RULES, self.config], self._digest)

    def _digest(self) -> str:
        stored = {
            name: StoredBytes(
                self.path,
                tensor.offset,
                num_bytes(tensor, self._types[tensor.type]),
                f"{tensor.shape} {self._types[tensor.type].name}",
            )
            for name, tensor in self._stored.items()
        }
        return digest_model(self.config, stored, tokenizer_facts(self.path))

    def write_configuration(self, folder: Path) -> None:
        """Write config.json, pooling files and tokenizer.json to a folder that other weights are written to."""
        for name, content in {"config.json": self.config, **self._json}.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
        tokenizer = tokenizer_json(self.path)
        if tokenizer is not None:
            (folder / "tokenizer.json").write_bytes(tokenizer)

    def _check(self, tensor: GgufTensor, file_bytes: int) -> None:
        kind = self._types[tensor.type]
        if tensor.shape[-1] % kind.values:
            raise CheckpointError(
                f"{self.path}: rows of {tensor.name} are no whole blocks of {kind.name}. Download the file again."
            )
        end = tensor.offset + num_bytes(tensor, kind)
        if end > file_bytes:
            raise CheckpointError(
                f"{self.path} is cut short: {tensor.name} ends at byte {end:,}, the file at {file_bytes:,}. "
                "Download it again."
            )

    def _map(self, tensor: GgufTensor, kind: BlockType) -> Array:
        """The tensor [rows, bytes of a row] uint8, mapped anew: a mapping keeps all pages read through it resident."""
        shape = (math.prod(tensor.shape[:-1]), kind.row_bytes(tensor.shape[-1]))
        return map_bytes(self.path, tensor.offset, num_bytes(tensor, kind)).reshape(shape)


def tokenizer_facts(path: Path) -> bytes | None:
    """What fixes the token ids of a text: the metadata, or the tokenizer.json beside the file where that is used."""
    metadata = read_header(path, with_arrays=True).metadata
    if not is_built(metadata):
        return read_if_there(path.with_name("tokenizer.json"))
    facts = {key: value for key, value in metadata.items() if key.startswith("tokenizer.ggml.")}
    return json.dumps(facts, sort_keys=True).encode()


def num_bytes(tensor: GgufTensor, kind: BlockType) -> int:
    return math.prod(tensor.shape[:-1]) * kind.row_bytes(tensor.shape[-1])


def dequantise(blocks: Array, kind: BlockType) -> Array:
    """Dequantise rows of blocks [n, bytes] to values [n, width] fp32."""
    assert kind.dequantise is not None
    return kind.dequantise(blocks)
