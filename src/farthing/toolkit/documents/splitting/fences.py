"""Writes code as a block of Markdown."""

from __future__ import annotations

import re

FENCE_MARKS = re.compile("`+")


def fenced(code: str, language: str = "") -> list[str]:
    """The lines of a code block, between fences that are longer than any in the code."""
    longest = max(map(len, FENCE_MARKS.findall(code)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence + language, *code.splitlines(), fence]
