"""Sizes of memory as people write them: "6GB", "900MiB"."""

from __future__ import annotations

import re

UNITS = {
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}


def parse_bytes(text: str) -> int | None:
    """The bytes that a number and a unit make, in any case (GB is 10^9, GiB 2^30); None for other text."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?b)\s*", text.lower(), flags=re.ASCII)
    if found is None or found[2] not in UNITS:
        return None
    return int(float(found[1]) * UNITS[found[2]])


def mebibytes(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:,.0f} MiB"
