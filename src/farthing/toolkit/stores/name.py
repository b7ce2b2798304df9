"""Says what an index may be called, where it has a name of its own: on a server, and in a database of several.

A name stands in addresses, is a folder's name and, in Milvus, a collection's. Letters outside of ASCII have several
spellings in Unicode. Some file systems tell these apart and others do not, so that one name could be two indexes, or
two names one.
"""

from __future__ import annotations

import re

from farthing.core.errors import InputError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_RULE = (
    "A name takes 1 to 64 letters (a-z, A-Z), digits, dots, dashes and underscores, the first a letter or digit."
)


def is_name(name: str) -> bool:
    return NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raise `InputError` for a text that cannot be the name of an index."""
    if not is_name(name):
        raise InputError(f"{name[:80]!r} cannot be the name of an index. {NAME_RULE}", param="name")
