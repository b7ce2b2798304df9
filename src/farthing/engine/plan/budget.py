"""How much of the free memory the settings allow."""

from __future__ import annotations

from farthing.core.settings import EngineSettings
from farthing.core.sizes import parse_bytes
from farthing.engine.plan.device import DeviceFacts

# The share of the free memory that is left free.
MARGIN = 0.1


def budget_bytes(settings: EngineSettings, facts: DeviceFacts) -> int | None:
    """The most bytes that may be held; None without a limit."""
    if settings.memory == "none":
        return None
    return int(facts.free_bytes * (1 - MARGIN)) if settings.memory == "auto" else parse_bytes(settings.memory)


def host_budget_bytes(settings: EngineSettings, facts: DeviceFacts) -> int | None:
    """The most bytes of the host's memory that may be held beside a card; None without a limit, or on a CPU."""
    if not facts.on_card or facts.host_free_bytes is None or settings.memory == "none":
        return None
    return int(facts.host_free_bytes * (1 - MARGIN))
