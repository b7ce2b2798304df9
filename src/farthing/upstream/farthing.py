"""What an upstream that is a Farthing says beside its vectors, in headers that other servers do not have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_LISTED = 100  # indices that it lists of texts that were cut; more texts a request could not all be told of
SPACE = re.compile("[0-9a-f]{1,64}")  # the identity of a space
MAX_CHARS = 500  # of a warning


@dataclass(frozen=True)
class Told:
    """
    Attributes:
        space: the identity of its vectors' space; None of any other server.
        truncated: indices of texts that were cut, of at most `MAX_LISTED` texts.
        warnings: what lowers the vectors' quality, ASCII.
        unknown: indices of texts of which the model knows no word, as many.
    """

    space: str | None = None
    truncated: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    unknown: tuple[int, ...] = ()


NOTHING = Told()


def read_told(headers: Mapping[str, str], num_inputs: int) -> Told:
    """From the headers of an answer to `num_inputs` texts. What makes no sense in them is left out."""
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
