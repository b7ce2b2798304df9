"""How a model will be run: every "auto" resolved, with the reason. Pure arithmetic, nothing is loaded.

In: settings and device facts. Out: the parts of a frozen `Plan`, which the loader and the runner follow to the letter.
`farthing.engine.plan.choose` chooses, by memory, among the ways that there are.
"""

from __future__ import annotations

from collections.abc import Mapping

from farthing.core.deferred import dataclass
from farthing.core.errors import SettingsError
from farthing.core.settings import EngineSettings
from farthing.core.sizes import mebibytes
from farthing.engine.plan.device import DeviceFacts
from farthing.engine.plan.ledger import Ledger
from farthing.engine.plan.run_mode import DTYPE_BYTES, Dtype, Way
from farthing.models.spec import ModelSpec

FETCHED = {
    "resident": "resident",
    "host": "in pinned host memory, copied for each batch",
    "disk": "read from disk for each batch",
}


@dataclass(frozen=True)
class Plan(Way):
    """The chosen way to run a model.

    Attributes:
        flash_attention: one variable-length kernel does all attention of a batch.
        ledger: what the model will hold in memory.
        budget_bytes: the most bytes that the model may hold, on a card in the card's memory; None: no limit.
        reasons: one sentence for each choice that was not the user's.
        is_rounded: weights are rounded to fit the memory, though no setting asked for it.
    """

    flash_attention: bool
    ledger: Ledger
    budget_bytes: int | None
    reasons: tuple[str, ...]
    is_rounded: bool = False


def plan_of(way: Way, ledger: Ledger, facts: DeviceFacts, budget_bytes: int | None, reasons: tuple[str, ...]) -> Plan:
    return Plan(
        **{name: getattr(way, name) for name in Way.__dataclass_fields__},
        flash_attention=facts.flash_attention and way.dtype != "fp32",
        ledger=ledger,
        budget_bytes=budget_bytes,
        reasons=reasons,
    )


def choose_format(settings: EngineSettings, facts: DeviceFacts) -> tuple[str, str | None]:
    """The format to take where the memory allows it, and why, where nobody asked for it."""
    if settings.format not in ("auto", "none"):
        return settings.format, None
    if settings.format == "auto" and facts.is_native:
        return "int8", "int8, which a CPU computes several times as fast as exact weights (--format fp32)"
    return fastest_format(facts)


def fastest_format(facts: DeviceFacts) -> tuple[str, str]:
    """The fastest format that loses nothing, and why it is that one."""
    if not facts.on_card:
        return "fp32", "fp32, the fastest of the exact formats on a CPU"
    if facts.fast_bf16:
        return "bf16", f"bf16, because {facts.name} computes it fastest"
    return "fp16", f"fp16 with an fp32 residual stream, because {facts.name} has no fast bf16"


def compute_dtype(format_name: str, facts: DeviceFacts) -> Dtype:
    """The dtype that products are computed in.

    On a CPU it is fp32, whatever is stored: a text's vector must not depend on its batch. On a card, half-precision
    formats compute in their own dtype where that is fast, and in fp32 where it is not; quantised formats compute in the
    dtype that the card computes fastest.
    """
    if not facts.on_card:
        return "fp32"
    named: Dtype | None = next((dtype for dtype in DTYPE_BYTES if dtype == format_name), None)
    if named is None:
        return "bf16" if facts.fast_bf16 else "fp16"
    return "fp32" if named == "bf16" and not facts.fast_bf16 else named


def choose_context(asked: int | None, spec: ModelSpec, max_tokens: int) -> tuple[int, str | None]:
    if asked is None:
        return max_tokens, None
    if asked > spec.max_positions:
        raise SettingsError(
            f"context_length is {asked}; this model's positions reach {spec.max_positions}", param="context_length"
        )
    if asked > max_tokens:
        return asked, f"context of {asked} tokens as asked, beyond the {max_tokens} that the model's files recommend"
    return asked, None


def speed(way: Way) -> str:
    """The class of a way's speed: what multiplies, and what must happen before."""
    if way.is_native:
        multiplied = f"{way.format.form} kernels"
    elif way.format.quantises and way.on_card and (way.format.is_packed_int8 or not way.unpacks):
        multiplied = f"{way.format.name} tensor cores"
    elif way.format.name == way.dtype:
        multiplied = "full"
    else:
        multiplied = "converting"
    return multiplied if way.residency == "resident" else f"{multiplied}, fetching"


def computed_in(way: Way) -> str:
    """In what products are computed, for people."""
    return "int8" if way.is_native and way.format.form == "int8" else way.dtype


def summary(plan: Plan) -> Mapping[str, str]:
    """The plan in words, for start-up output."""
    entries = ", ".join(f"{entry.name} {mebibytes(entry.num_bytes)}" for entry in plan.ledger.entries)
    total, budget = mebibytes(plan.ledger.total(plan.main_place)), plan.budget_bytes
    return {
        "device": ", ".join((plan.device, *plan.others)),
        "format": f"{plan.format.name}, computed in {computed_in(plan)}",
        "layers": FETCHED[plan.residency],
        **({"reason": "; ".join(plan.reasons)} if plan.reasons else {}),
        "context": f"{plan.context_length:,} tokens",
        "batch": f"up to {plan.max_batch_tokens:,} tokens",
        "memory": f"{entries}: at most {total}" + ("" if budget is None else f" of {mebibytes(budget)}"),
    }
