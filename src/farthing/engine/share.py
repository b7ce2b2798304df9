"""One budget of memory for two models in one process.

In: both models' shapes and settings. Out: for each the settings to plan with, whose memory is its part of the budget.
What Python and torch take is there once and counted for each. Pure arithmetic, nothing is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from farthing.core.errors import DoesNotFitError
from farthing.core.settings import EngineSettings
from farthing.core.sizes import mebibytes
from farthing.engine.choose import make_plan
from farthing.engine.device import DeviceFacts
from farthing.engine.ledger import RUNTIME_BYTES, TORCH_PRODUCTS_BYTES
from farthing.engine.way import ModelShape

STEPS = 20  # of the budget, in which other parts than the first one are tried


@dataclass(frozen=True)
class Sharer:
    """A model that is to have a part of the memory."""

    name: str
    shape: ModelShape
    settings: EngineSettings

    @property
    def num_weights(self) -> int:
        return sum(math.prod(shape) for _, shape in self.shape.layout.tensors())


def share_memory(
    first: Sharer, second: Sharer, facts: DeviceFacts, budget_bytes: int
) -> tuple[EngineSettings, EngineSettings]:
    """Parts in proportion to the models' weights, or the parts closest to that with which both fit.

    The second one gets what the first one's plan leaves. Raises `DoesNotFitError` when there are none.
    """
    once = RUNTIME_BYTES + TORCH_PRODUCTS_BYTES if facts.is_cpu else 0
    refusal: DoesNotFitError | None = None
    for part in parts(first.num_weights / (first.num_weights + second.num_weights)):
        try:
            mine = with_memory(first, once + int(part * (budget_bytes - once)))
            plan = make_plan(mine, facts, first.shape)
            rest = with_memory(second, budget_bytes - plan.ledger.own_bytes(plan.main_place))
            make_plan(rest, facts, second.shape)
        except DoesNotFitError as error:
            refusal = refusal or error
        else:
            return mine, rest
    assert refusal is not None
    raise DoesNotFitError(
        f"{second.name} and {first.name} do not fit {mebibytes(budget_bytes)} together. {refusal} That is the part of "
        "one of them. Give more memory, or serve them in two processes on two machines.",
        param="memory",
        short_bytes=refusal.short_bytes,
    ) from refusal


def parts(wanted: float) -> Iterator[float]:
    """Parts of a whole, `wanted` first, then others in order of their distance from it."""
    yield wanted
    yield from sorted((step / STEPS for step in range(1, STEPS)), key=lambda part: abs(part - wanted))


def with_memory(sharer: Sharer, num_bytes: int) -> EngineSettings:
    return replace(sharer.settings, memory=f"{max(1, num_bytes)}B")
