"""Rewords errors of the layers below for the command line.

In: a message that names settings as programs and config files do. Out: the same message with flags instead.
"""

from __future__ import annotations

from dataclasses import fields

from farthing.core.settings import GROUPS

NAMES = tuple(item.name for group in GROUPS for item in fields(group))  # type: ignore[arg-type]


def in_flags(message: str) -> str:
    """Return the message with flags: `set short_text to zero` becomes `give --short-text zero`. Other words stay."""
    for name in NAMES:
        if name in message:
            flag = "--" + name.replace("_", "-")
            message = message.replace(f"set {name} to ", f"give {flag} ")
            message = message.replace(f"set a larger {name}", f"give a larger {flag}")
            message = message.replace(f"({name}: true)", f"({flag})")
    return message
