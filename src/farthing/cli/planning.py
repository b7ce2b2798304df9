"""The plan of a model by name, and how it is shown; apart from `farthing.cli.plan`, because it imports the engine."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from farthing.cli.bench.model import check_mistyped, choices, shape_name
from farthing.cli.bench.report import columns
from farthing.core.deferred import dataclass
from farthing.core.errors import DoesNotFitError, ModelNotFoundError
from farthing.core.settings import EngineSettings, SourceSettings
from farthing.core.sizes import mebibytes
from farthing.engine.describe import read_shape, shape_of_config
from farthing.engine.plan.budget import budget_bytes
from farthing.engine.plan.choose import Option, make_plan, needs_folder, options
from farthing.engine.plan.device import DeviceFacts, device_facts
from farthing.engine.plan.plan import FETCHED, Plan, speed
from farthing.engine.plan.run_mode import ModelShape
from farthing.models.synth.checkpoint import SHAPES
from farthing.quant.formats import FORMATS
from farthing.sources.configuration import find_configuration
from farthing.sources.local import local_folder


@dataclass(frozen=True)
class Planned:
    """
    Attributes:
        options: one for each format and residency: the first that fits, else the one that needs least memory.
        plan: the chosen way; None where nothing fits, which `refusal` explains.
    """

    name: str
    facts: DeviceFacts
    model: ModelShape
    budget_bytes: int | None
    options: tuple[Option, ...]
    plan: Plan | None
    refusal: DoesNotFitError | None


def plan_model(name: str, source: SourceSettings, settings: EngineSettings) -> Planned:
    """Plan a model, or a shape of that name, without loading it.

    Raises:
        ModelError: the model cannot be found or used.
        SettingsError: the settings ask for what the model or the device cannot do.
    """
    shape = shape_name(name) if local_folder(name) is None else None
    if shape is not None:
        model = shape_of_config(SHAPES[shape].config())
    else:
        if local_folder(name) is None:
            check_mistyped(name)
        try:
            with find_configuration(name, source) as folder:
                model, settings = read_shape(folder, settings)
        except ModelNotFoundError as error:
            raise ModelNotFoundError(f"{error}\n{choices()}") from error
    facts = device_facts(settings.device)
    plan, refusal = None, None
    try:
        plan = make_plan(settings, facts, model)
    except DoesNotFitError as error:
        refusal = error
    shown = tuple(by_kind([*options(settings, facts, model), *after_quantising(settings, facts, model)]))
    return Planned(name, facts, model, budget_bytes(settings, facts), shown, plan, refusal)


def after_quantising(settings: EngineSettings, facts: DeviceFacts, model: ModelShape) -> Iterator[Option]:
    """Yield the ways to run the folder that `farthing quantize` could write of a model that is not quantised."""
    if model.is_quantised or settings.format not in ("auto", *FORMATS) or settings.residency not in ("auto", "disk"):
        return
    written = replace(model, is_quantised=True)
    for form in FORMATS.values():
        if form.quantises and settings.format in ("auto", form.name):
            yield from options(replace(settings, format=form.name, residency="disk"), facts, written)


def by_kind(found: Sequence[Option]) -> Iterator[Option]:
    kinds: dict[tuple[str, str], list[Option]] = {}
    for option in found:
        kinds.setdefault((option.way.format.name, option.way.residency), []).append(option)
    for group in kinds.values():
        yield next((option for option in group if option.fits), min(group, key=lambda option: option.num_bytes))


def report_lines(planned: Planned, width: int | None = None) -> Iterator[str]:
    """Yield the lines of the report for a terminal of `width` characters; None where there is no terminal."""
    spec, facts, budget = planned.model.spec, planned.facts, planned.budget_bytes
    yield f"model   {planned.name}: {spec.num_layers} layers of width {spec.hidden:,}, stored in {planned.model.stored}"
    yield f"device  {facts.device}: {facts.name}, {mebibytes(facts.free_bytes)} free"
    yield f"memory  {'no limit' if budget is None else f'{mebibytes(budget)} ({budget:,} bytes)'}"
    yield ""
    yield from table(planned, width)
    if planned.plan is None:
        return
    plan = planned.plan
    yield ""
    chosen = f"{plan.format.name}, {FETCHED[plan.residency]}, is chosen: {'; '.join(plan.reasons) or 'as asked for'}."
    yield from [chosen] if width is None else textwrap.wrap(chosen, width)
    yield from columns([*ledger_rows(plan)])


def table(planned: Planned, width: int | None) -> Iterator[str]:
    """Yield a row for each option. Columns for the parts of its bytes are there only if `width` has room for them."""
    entries = names(planned)
    lines = list(columns([header(entries), *(row(option, planned, entries) for option in planned.options)]))
    if width is not None and len(lines[0]) > width:
        lines = list(columns([header([]), *(row(option, planned, []) for option in planned.options)]))
        lines.append("(What the bytes of each row are made of: --json, or a wider terminal.)")
    yield from lines


def header(entries: Sequence[str]) -> tuple[str, ...]:
    return ("format", "layers", "texts to", "MiB in all", *entries, "fits", "speed")


def names(planned: Planned) -> list[str]:
    """Return the names of all ledger entries, in their order."""
    return list(dict.fromkeys(entry.name for option in planned.options for entry in option.ledger.entries))


def row(option: Option, planned: Planned, entries: Sequence[str]) -> tuple[str, ...]:
    way = option.way
    parts = (option.ledger.named(name) for name in entries)
    must_quantise = way.residency == "disk" and needs_folder(way.format.name, planned.facts, planned.model)
    return (
        way.format.name,
        way.residency,
        f"{way.context_length:,}",
        f"{option.num_bytes / 2**20:,.0f}",
        *(f"{num_bytes / 2**20:,.0f}" if num_bytes else "-" for num_bytes in parts),
        "no" if not option.fits else "once quantized" if must_quantise else "yes",
        speed(way),
    )


def ledger_rows(plan: Plan) -> Iterator[tuple[str, ...]]:
    for entry in plan.ledger.entries:
        yield entry.name, f"{entry.num_bytes:,} bytes", entry.place
    yield "in all", f"{plan.ledger.total(plan.main_place):,} bytes", plan.main_place


def as_object(planned: Planned) -> dict[str, Any]:
    """Return the plan as an object for JSON, with sizes in bytes."""
    plan = planned.plan
    return {
        "model": planned.name,
        "device": planned.facts.device,
        "free_bytes": planned.facts.free_bytes,
        "budget_bytes": planned.budget_bytes,
        "options": [
            {
                "format": option.way.format.name,
                "residency": option.way.residency,
                "context_length": option.way.context_length,
                "max_batch_tokens": option.way.max_batch_tokens,
                "total_bytes": option.num_bytes,
                "fits": option.fits,
                "speed": speed(option.way),
                "ledger": ledger_object(option),
            }
            for option in planned.options
        ],
        "choice": None
        if plan is None
        else {
            "format": plan.format.name,
            "residency": plan.residency,
            "context_length": plan.context_length,
            "max_batch_tokens": plan.max_batch_tokens,
            "total_bytes": plan.ledger.total(plan.main_place),
            "reasons": list(plan.reasons),
        },
    }


def ledger_object(option: Option) -> list[dict[str, object]]:
    return [{"name": entry.name, "place": entry.place, "bytes": entry.num_bytes} for entry in option.ledger.entries]
