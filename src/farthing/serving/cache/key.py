"""What a kept vector is found by: a hash of all that fixes it, and of nothing else.

In: what makes a model's vectors comparable, a prompt, texts. Out: 16 bytes a text. No text is stored anywhere: the hash
is BLAKE2b (RFC 7693), keyed with what does not come from the request, and 128 bits make equal keys of different texts
as unlikely as a wrong bit in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from farthing.core.space import VectorSpace

KEY_BYTES = 16
# Of the rules that lead from a text to its vector. Raised when they change, so that older entries are not found.
RULES = 2


def namespace(space: VectorSpace, context_length: int) -> bytes:
    """32 bytes that differ between models, formats that round differently, poolings and contexts.

    The context counts because it says where long texts are cut.
    """
    facts = [RULES, space.fingerprint, space.pooling, space.dimensions, context_length]
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=32).digest()


def text_keys(space_key: bytes, prefix: str) -> Callable[[str], bytes]:
    """The key of a cleaned text that follows `prefix`.

    The prefix goes in with its length, so that no text can pass for a prefix's end.
    """
    data = prefix.encode("utf-8", "surrogatepass")  # a prefix that is no text is refused where it is tokenised
    begun = hashlib.blake2b(len(data).to_bytes(8, "little") + data, digest_size=KEY_BYTES, key=space_key)

    def key(text: str) -> bytes:
        digest = begun.copy()
        digest.update(text.encode())
        return digest.digest()

    return key
