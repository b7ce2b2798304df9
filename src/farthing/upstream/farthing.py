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
    """

    space: str | None = None
    truncated: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()


NOTHING = Told()


def read_told(headers: Mapping[str, str], num_inputs: int) -> Told:
    """From the headers of an answer to `num_inputs` texts. What makes no sense in them is left out."""
    space = headers.get("x-farthing-space", "")
    if not SPACE.fullmatch(space):
        return NOTHING
    listed = headers.get("x-farthing-truncated", "").split(",")
    indices = {int(item) for item in listed if item.isascii() and item.isdecimal() and len(item) < 9}
    warning = headers.get("x-farthing-warning", "").encode("ascii", "replace").decode()[:MAX_CHARS]
    return Told(space, tuple(sorted(i for i in indices if i < num_inputs)), (warning,) if warning else ())
