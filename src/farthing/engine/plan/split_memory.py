"""Splits one budget of memory between several models in one process.

In: the models' shapes and settings. Out: for each model the settings to plan with, whose memory is its part of the
budget. What Python and libraries take is there once, but counts in every part. Pure arithmetic, nothing is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from farthing.core.deferred import dataclass
from farthing.core.errors import DoesNotFitError, SettingsError
from farthing.core.settings import EngineSettings
from farthing.core.sizes import mebibytes, parse_bytes
from farthing.engine.plan.choose import make_plan
from farthing.engine.plan.device import DeviceFacts
from farthing.engine.plan.ledger import RUNTIME_BYTES
from farthing.engine.plan.run_mode import ModelShape, Place

TOO_LITTLE_BYTES = 1  # for any model; planning says how much is missing


@dataclass(frozen=True)
class Sharer:
    """A model that is to get a part of the memory.

    Attributes:
        share: the model's part of the budget, where one was given.
        has_own_memory: `settings.memory` is the model's part, as a size.
    """

    name: str
    shape: ModelShape
    settings: EngineSettings
    share: float | None = None
    has_own_memory: bool = False

    @property
    def num_weights(self) -> int:
        return sum(math.prod(shape) for _, shape in self.shape.layout.tensors())


def share_memory(sharers: Sequence[Sharer], facts: DeviceFacts, budget_bytes: int) -> list[EngineSettings]:
    """The settings of the models, each with its part of the budget.

    A part that was given stays as it is. The rest is shared in proportion to the other models' weights, but each gets
    at least what it needs. What a model's plan leaves of its part goes to larger models for which no part was given.

    Raises:
        DoesNotFitError: not all models fit together, or one does not fit its part.
        SettingsError: the given parts are more than the whole.
    """
    once = RUNTIME_BYTES if not facts.on_card else 0
    said = {index: said_bytes(sharer, budget_bytes, once) for index, sharer in enumerate(sharers)}
    left = budget_bytes - once - sum(max(0, part - once) for part in said.values() if part is not None)
    open_ones = sorted((index for index, part in said.items() if part is None), key=lambda i: sharers[i].num_weights)
    if len(open_ones) < len(sharers) and (left < 0 or (open_ones and left == 0)):
        raise SettingsError(
            f"The models' own parts are more than the {mebibytes(budget_bytes)} that there are: "
            f"{', '.join(f'{sharers[i].name} {mebibytes(part)}' for i, part in said.items() if part is not None)}. "
            "Give less to some, or more memory.",
            param="memory",
        )
    rest = share_rest([sharers[index] for index in open_ones], facts, left, once, budget_bytes)
    planned = dict(zip(open_ones, rest, strict=True))
    return [planned.get(index, with_memory(sharer, said[index] or 0)) for index, sharer in enumerate(sharers)]


def share_rest(
    sharers: Sequence[Sharer], facts: DeviceFacts, left: int, once: int, budget_bytes: int
) -> list[EngineSettings]:
    """The settings of models that share `left` bytes; smaller ones come first, and leave the rest to larger ones."""
    needs = [max(0, least_bytes(sharer, facts) - once) for sharer in sharers]
    if sum(needs) > left:
        raise too_much(sharers, budget_bytes, sum(needs) - left)
    planned = []
    torch_bytes = 0  # what torch takes that was counted already
    place: Place = "device" if facts.on_card else "host"
    for index, sharer in enumerate(sharers):
        fair = left * sharer.num_weights // sum(other.num_weights for other in sharers[index:])
        part = min(max(fair, needs[index]), left - sum(needs[index + 1 :]))
        planned.append(with_memory(sharer, once + part))
        ledger = make_plan(planned[-1], facts, sharer.shape).ledger
        runtime = ledger.total(place) - ledger.own_bytes(place)
        left -= ledger.own_bytes(place) + max(0, runtime - once - torch_bytes)
        torch_bytes = max(torch_bytes, runtime - once)
    return planned


def said_bytes(sharer: Sharer, budget_bytes: int, once: int) -> int | None:
    """The part that was given for a model, with what Python and libraries take; None where none was given."""
    if sharer.has_own_memory:
        return parse_bytes(sharer.settings.memory)
    return None if sharer.share is None else once + int(sharer.share * (budget_bytes - once))


def least_bytes(sharer: Sharer, facts: DeviceFacts) -> int:
    """The least memory in which a model can be run, with what it takes in proportion to the memory."""
    num_bytes = TOO_LITTLE_BYTES
    while True:
        try:
            make_plan(with_memory(sharer, num_bytes), facts, sharer.shape)
        except DoesNotFitError as error:
            num_bytes += max(1, error.short_bytes)
        else:
            return num_bytes


def too_much(sharers: Sequence[Sharer], budget_bytes: int, short_bytes: int) -> DoesNotFitError:
    names = " and ".join(sharer.name for sharer in sharers)
    return DoesNotFitError(
        f"{names} do not fit {mebibytes(budget_bytes)} together: {mebibytes(short_bytes)} are missing. Give more "
        "memory, smaller weight formats or shorter contexts, or serve them in processes on several machines.",
        param="memory",
        short_bytes=short_bytes,
    )


def with_memory(sharer: Sharer, num_bytes: int) -> EngineSettings:
    return replace(sharer.settings, memory=f"{max(1, num_bytes)}B")
