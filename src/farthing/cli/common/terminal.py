"""What the terminal can show: its width, and colours."""

from __future__ import annotations

import shutil
import sys

import click


def terminal_width() -> int | None:
    """Return the number of characters in a line; None where standard output is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def is_styled() -> bool:
    """Whether bold type and colours are shown: on a terminal, unless its user wants none (NO_COLOR)."""
    context = click.get_current_context(silent=True)
    return sys.stdout.isatty() and (context is None or context.color is not False)
