"""OpenAI's embeddings API as its client sees it: texts become a body, an answer's bytes become checked vectors."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from farthing.core.deferred import dataclass
from farthing.upstream.answer import AttemptFailedError, vectors_limit
from farthing.upstream.client import UpstreamClient, at

MAX_UTF8_BYTES = 4  # of a character
MOST_AROUND = 4096  # tokens that an upstream may put around a text: special ones, and a prompt of its own
MOST_TOKENS = 2**31 - 1
MAX_LISTED = 100  # indices of cut texts that a Farthing lists; a request with more texts could not be told of all
SPACE = re.compile("[0-9a-f]{1,64}")  # the identity of a space
MAX_CHARS = 500  # of a warning


@dataclass(frozen=True)
class Told:
    """What a Farthing says beside its vectors.

    Attributes:
        space: identity of the vectors' space; None for any other server.
        truncated: indices of texts that were cut, of at most `MAX_LISTED` texts.
        warnings: what lowers the vectors' quality, ASCII.
        unknown: indices of texts of which the model knows no word, of as many texts.
    """

    space: str | None = None
    truncated: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    unknown: tuple[int, ...] = ()


NOTHING = Told()


@dataclass(frozen=True)
class UpstreamVectors:
    """
    Attributes:
        rows: float32 [texts, dimensions], finite, in the order of the texts.
        num_tokens: tokens of all texts; None where the upstream does not say.
        num_cached_tokens: how many of them the upstream did not compute.
        told: what the upstream says beside the vectors, if it is a Farthing.
    """

    rows: np.ndarray
    num_tokens: int | None
    num_cached_tokens: int
    told: Told = NOTHING


async def ask_vectors(
    client: UpstreamClient,
    model: str,
    inputs: Sequence[str | Sequence[int]],
    truncate: bool = False,
    dimensions: int | None = None,
) -> UpstreamVectors:
    """The full vectors of `inputs`.

    Args:
        dimensions: dimensions of full vectors, where they are known; they bound how long the answer may be.
        truncate: cut texts that are too long; only a Farthing can be told to.

    Raises as `UpstreamClient.post`, and `AttemptFailedError` for what is no answer.
    """
    body: dict[str, Any] = {"model": model, "input": inputs}
    if client.as_base64:
        body["encoding_format"] = "base64"
    if client.is_farthing:
        body["truncate"] = truncate
    answer = await client.post(at(client.base, "embeddings"), body, vectors_limit(len(inputs), dimensions))
    vectors = read_vectors(answer.content, len(inputs), most_tokens(inputs))
    return replace(vectors, told=read_told(answer.headers, len(inputs)))


def most_tokens(inputs: Sequence[str | Sequence[int]]) -> int:
    """More tokens than any tokenizer makes of the inputs: one for each byte, and those that stand around them."""
    return sum(len(item) * MAX_UTF8_BYTES + MOST_AROUND for item in inputs)


def read_vectors(content: bytes, num_inputs: int, max_tokens: int = MOST_TOKENS) -> UpstreamVectors:
    """Read the vectors of an answer.

    Args:
        max_tokens: most tokens of all inputs; a larger number makes no sense, and counts as not said.

    Raises:
        AttemptFailedError: the answer is not one finite vector an input, none of zeros, all of one length.
    """
    try:
        answer = orjson.loads(content)
        items = in_order(answer["data"])
        rows = [decode(item["embedding"]) for item in items]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise AttemptFailedError("answered something that is no list of vectors") from error
    if len(rows) != num_inputs:
        raise AttemptFailedError(f"answered {len(rows)} vectors for {num_inputs} texts")
    widths = {row.shape for row in rows}
    if len(widths) != 1 or len(rows[0].shape) != 1 or not rows[0].size:
        raise AttemptFailedError("answered vectors of several shapes, or empty ones")
    with np.errstate(over="ignore"):
        stacked = np.stack(rows).astype(np.float32)
    if not np.isfinite(stacked).all():
        raise AttemptFailedError("answered a vector with NaN or Inf")
    if not stacked.any(axis=1).all():  # no cosine can be computed of them
        raise AttemptFailedError("answered a vector of zeros")
    num_tokens, num_cached = usage(answer, max_tokens)
    return UpstreamVectors(stacked, num_tokens, num_cached)


def in_order(items: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The items by their index, where they have one. Raises `ValueError` unless each place is there once."""
    if not all("index" in item for item in items):
        return items
    ordered = sorted(items, key=lambda item: int(item["index"]))
    if [item["index"] for item in ordered] != list(range(len(items))):
        raise ValueError("an index is missing or doubled")
    return ordered


def decode(embedding: str | list[float]) -> np.ndarray:
    """A vector given as numbers, or as base64 of little-endian float32."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    return np.array(embedding, dtype=np.float64)


def usage(answer: Mapping[str, Any], max_tokens: int) -> tuple[int | None, int]:
    """The number of tokens, and how many of them were cached, as far as the answer says."""
    stated = answer.get("usage")
    if not isinstance(stated, dict):
        return None, 0
    num_tokens = stated.get("prompt_tokens") or stated.get("total_tokens")
    if type(num_tokens) is not int or not 0 < num_tokens <= max_tokens:
        return None, 0
    details = stated.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return num_tokens, min(max(cached, 0), num_tokens) if type(cached) is int else 0


def share_out(total: int, weights: Sequence[int]) -> list[int]:
    """Divide `total` into whole parts in proportion to `weights`, which are positive; the parts add up to it."""
    ends = np.rint(np.cumsum(weights, dtype=np.float64) * (total / sum(weights))).astype(np.int64)
    return [int(part) for part in np.diff(ends, prepend=0)]


def read_told(headers: Mapping[str, str], num_inputs: int) -> Told:
    """What the headers of an answer to `num_inputs` texts tell. What makes no sense in them is left out."""
    space = headers.get("x-farthing-space", "")
    if not SPACE.fullmatch(space):
        return NOTHING
    truncated, unknown = (
        read_indices(headers.get(name, ""), num_inputs) for name in ("x-farthing-truncated", "x-farthing-unknown")
    )
    warning = headers.get("x-farthing-warning", "").encode("ascii", "replace").decode()[:MAX_CHARS]
    return Told(space, truncated, (warning,) if warning else (), unknown)


def read_indices(listed: str, num_inputs: int) -> tuple[int, ...]:
    found = {int(item) for item in listed.split(",") if item.isascii() and item.isdecimal() and len(item) < 9}
    return tuple(sorted(index for index in found if index < num_inputs))
