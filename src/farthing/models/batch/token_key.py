"""Token ids as bytes that compare as the ids do, so that sorting and finding shared prefixes is quick."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

TOKEN_BYTES = 4


def token_key(ids: Sequence[int]) -> bytes:
    """The key of token ids [tokens], each below 2^32: four bytes for a token, the highest first."""
    return struct.pack(f">{len(ids)}I", *ids)


def common_tokens(first: bytes, second: bytes) -> int:
    """The number of tokens with which two keys begin alike."""
    length = min(len(first), len(second))
    if first[:length] == second[:length]:
        return length // TOKEN_BYTES
    a, b = (np.frombuffer(key, dtype=">u4", count=length // TOKEN_BYTES) for key in (first, second))
    return int(np.argmax(a != b))
