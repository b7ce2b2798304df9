"""What errors of the layers below say of settings, as it is written on the command line.

In: a message that speaks of settings by their names, as programs and config files know them. Out: the same with flags.
"""

from __future__ import annotations

from dataclasses import fields

from farthing.core.settings import GROUPS

NAMES = tuple(item.name for group in GROUPS for item in fields(group))  # type: ignore[arg-type]


def in_flags(message: str) -> str:
    """`set short_text to zero` is `give --short-text zero`; other words stay as they are."""
    for name in NAMES:
        if name in message:
            flag = "--" + name.replace("_", "-")
            message = message.replace(f"set {name} to ", f"give {flag} ")
            message = message.replace(f"set a larger {name}", f"give a larger {flag}")
            message = message.replace(f"({name}: true)", f"({flag})")
    return message
