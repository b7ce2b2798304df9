"""Ways to hold the same model in less memory, each a step below the one before.

In: a described model with its plan, and the settings the plan was made from. Out: rungs, the plan itself first. A
setting that was given is never changed, as in `farthing.engine.plan.choose`. Steps that keep every vector as it is come
before steps that round weights. Pure arithmetic: nothing is loaded, and when to take a step is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from farthing.core.deferred import dataclass
from farthing.core.settings import EngineSettings
from farthing.engine.describe import ModelDescription
from farthing.engine.plan.choose import LEAST_TOKENS, formats, make_way
from farthing.engine.plan.device import DeviceFacts
from farthing.engine.plan.ledger import make_ledger
from farthing.engine.plan.plan import Plan, plan_of
from farthing.engine.plan.run_mode import RESIDENCIES, Residency, Way
from farthing.quant.formats import weight_format

RungName = Literal["as planned", "smaller batches", "weights as stored", "layers fetched", "weights rounded"]
# A batch of a quarter of the tokens still keeps a device busy.
SMALLER = 4
# A step that moves layers or converts weights must save at least this share of their memory to be worth its cost.
LEAST_SAVING = 0.05


@dataclass(frozen=True)
class Rung:
    """
    Attributes:
        keeps_vectors: whether the vectors are the same as those of the first rung.
    """

    name: RungName
    plan: Plan
    keeps_vectors: bool = True

    @property
    def num_bytes(self) -> int:
        """The number of bytes held on the model's device."""
        return self.plan.ledger.total(self.plan.main_place)

    @property
    def weight_bytes(self) -> int:
        """The part of `num_bytes` that depends on the format and the residency."""
        ledger = self.plan.ledger
        return sum(ledger.named(name) for name in ("weights", "one layer", "two layers", "a layer unpacked"))


def make_rungs(
    description: ModelDescription, settings: EngineSettings, facts: DeviceFacts, *, may_round: bool
) -> tuple[Rung, ...]:
    """The rungs of a model, the plan itself first.

    With `may_round`, weights may be quantised where the settings leave the format open.
    """
    plan = description.plan
    rungs = [Rung("as planned", plan), Rung("smaller batches", with_smaller_batches(plan, description))]
    is_open = settings.format in ("auto", "none") and description.manifest is None
    best, smaller = formats(settings, facts, description.shape)
    # Where the best format would round too much, the plan has another, and the best one is no longer exact.
    exact = [name for name in best if not weight_format(name).quantises]
    quantised = [*(name for name in best if name not in exact), *smaller]
    if is_open and not plan.format.quantises:
        for name in exact:
            add_if_less(rungs, "weights as stored", description, facts, name, plan.residency)
    for residency in lower_residencies(plan, settings, facts, description):
        add_if_less(rungs, "layers fetched", description, facts, rungs[-1].plan.format.name, residency)
    if is_open and may_round:
        for name in quantised:
            add_if_less(rungs, "weights rounded", description, facts, name, rounded_residency(rungs[-1].plan, facts))
    return tuple(rungs)


def with_smaller_batches(plan: Plan, description: ModelDescription) -> Plan:
    least = min(LEAST_TOKENS, plan.max_batch_tokens)
    smaller = replace(plan, max_batch_tokens=max(least, plan.max_batch_tokens // SMALLER), prefix_bytes=0)
    return replace(smaller, ledger=make_ledger(description.shape, smaller))


def lower_residencies(
    plan: Plan, settings: EngineSettings, facts: DeviceFacts, description: ModelDescription
) -> Iterator[Residency]:
    """The residencies below the plan's, where the settings leave the residency open."""
    if settings.residency != "auto" or facts.others:
        return
    for residency in RESIDENCIES[RESIDENCIES.index(plan.residency) + 1 :]:
        is_same = residency == "host" and not facts.on_card
        must_convert = residency == "disk" and plan.format.quantises and description.manifest is None
        if not is_same and not must_convert:
            yield residency


def rounded_residency(plan: Plan, facts: DeviceFacts) -> Residency:
    """The residency of rounded weights: not the disk, since weights cannot be quantised anew for each batch."""
    if plan.residency != "disk":
        return plan.residency
    return "resident" if not facts.on_card else "host"


def add_if_less(
    rungs: list[Rung],
    name: RungName,
    description: ModelDescription,
    facts: DeviceFacts,
    format_name: str,
    residency: Residency,
) -> None:
    """Add a rung if it holds less than the last rung."""
    last = rungs[-1]
    way = make_way(
        EngineSettings(num_threads=last.plan.num_threads),
        facts,
        description.shape,
        format_name,
        residency,
        last.plan.context_length,
        last.plan.max_batch_tokens,
        keeps_table=last.plan.keeps_table and residency == "resident",
        chunk_tokens=last.plan.chunk_tokens,
    )
    way = replace(way, shares_prefixes=last.plan.shares_prefixes, prefix_bytes=last.plan.prefix_bytes)
    rung = Rung(name, plan_at(way, description, facts), last.keeps_vectors and name != "weights rounded")
    if last.num_bytes - rung.num_bytes > LEAST_SAVING * last.weight_bytes:
        rungs.append(rung)


def plan_at(way: Way, description: ModelDescription, facts: DeviceFacts) -> Plan:
    return plan_of(way, make_ledger(description.shape, way), facts, description.plan.budget_bytes, ())
