"""Which model a checkpoint is: one digest of the stored weights, config.json and the tokenizer.

In: config.json, where each tensor lies, the tokenizer's bytes. Out: sixteen hexadecimal digits. They depend on nothing
else: not on the names of files and folders, not on how many files hold the tensors and in which order, and not on the
machine. Files are read in small pieces and never mapped.

A model of at most `WHOLE_MODEL_BYTES` counts in full, and so does every tensor of at most `WHOLE_TENSOR_BYTES` (norms,
biases, scales). Of a larger tensor, `NUM_PLACES` pieces count, spread evenly from its first byte to its last: a change
of a 60th of it in one stretch is always seen, a change of a few rows may not be. The digest is no defence against
forgery.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from farthing.core.deferred import dataclass
from farthing.core.errors import CheckpointError

# The version of what is digested and how. It is raised when that changes, so that vectors kept under the earlier
# identity are not found.
RULES = 2
WHOLE_MODEL_BYTES = 128 * 2**20
WHOLE_TENSOR_BYTES = 2**20
NUM_PLACES = 64
PLACE_BYTES = 4096
CHUNK_BYTES = 2**20
# Keys of config.json that say who wrote it and where, not what the model is.
IGNORED = frozenset({"_name_or_path", "_commit_hash", "transformers_version"})


@dataclass(frozen=True)
class StoredBytes:
    """Where a tensor lies; `facts` are its shape and type in words."""

    file: Path
    offset: int
    num_bytes: int
    facts: str


def digest_model(config: Mapping[str, Any], tensors: Mapping[str, StoredBytes], tokenizer: bytes | None) -> str:
    """The digest of a model.

    Args:
        tokenizer: the bytes that fix the token ids of a text; None where there is no tokenizer.

    Raises:
        CheckpointError: a file cannot be read, or ends early.
    """
    counted = {key: value for key, value in config.items() if key not in IGNORED}
    parts = [f"farthing {RULES}".encode(), json.dumps(counted, sort_keys=True).encode()]
    parts.append(b"no tokenizer" if tokenizer is None else hashlib.sha256(tokenizer).digest())
    is_small = sum(tensor.num_bytes for tensor in tensors.values()) <= WHOLE_MODEL_BYTES
    for name in sorted(tensors):
        parts += [f"{name} {tensors[name].facts}".encode(), digest_tensor(tensors[name], in_full=is_small)]
    digest = hashlib.sha256()
    for part in parts:  # each follows its length, so that no part can pass for the end of another
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()[:16]


def digest_tensor(tensor: StoredBytes, *, in_full: bool) -> bytes:
    digest = hashlib.sha256()
    try:
        with tensor.file.open("rb", buffering=0) as stream:
            for start, size in pieces(tensor.num_bytes, in_full=in_full):
                stream.seek(tensor.offset + start)
                content = stream.read(size)
                if len(content) != size:
                    raise CheckpointError(f"{tensor.file} is cut short. Download the model again.")
                digest.update(content)
    except OSError as error:
        raise CheckpointError(
            f"{tensor.file} cannot be read: {error}. Check the disk, or download it again."
        ) from error
    return digest.digest()


def pieces(num_bytes: int, *, in_full: bool) -> Iterable[tuple[int, int]]:
    """The start and length of each piece of a tensor that counts.

    The pieces are the whole tensor, or `NUM_PLACES` parts of it, with its first and last byte.
    """
    if in_full or num_bytes <= WHOLE_TENSOR_BYTES:
        return ((start, min(CHUNK_BYTES, num_bytes - start)) for start in range(0, num_bytes, CHUNK_BYTES))
    last = num_bytes - PLACE_BYTES
    return ((place * last // (NUM_PLACES - 1), PLACE_BYTES) for place in range(NUM_PLACES))
