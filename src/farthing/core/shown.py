"""A client's own words as a message repeats them: enough of them to be recognised, however long they are."""

from __future__ import annotations

MAX_SHOWN = 64  # characters
MAX_NAME = 256  # characters; what is longer is no name of anything, and is not looked up


def shown_name(name: str) -> str:
    """The name in quotes; of a long name the beginning, and its length."""
    return repr(name) if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]!r}... ({len(name)} characters)"
