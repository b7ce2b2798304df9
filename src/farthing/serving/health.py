"""Whether the service can answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Health:
    """`reason` is empty when ready."""

    ready: bool
    reason: str = ""
