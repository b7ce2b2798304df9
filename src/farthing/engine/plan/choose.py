"""Chooses the way to run a model: the first, in order of preference, that stays inside the memory.

In: settings, device facts, the model's shape. Out: every possible way with its ledger, and the chosen way as a `Plan`.
The order is what serves people best. Layers that stay on the device come before layers that are fetched for each batch,
since a single query has to wait for the fetching. With either, exact weights come before rounded ones, and rounded ones
are ordered by how close they are. Texts are shortened, within limits, before either is given up. Nothing is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from farthing.core.deferred import dataclass
from farthing.core.errors import DoesNotFitError, SettingsError
from farthing.core.settings import EngineSettings
from farthing.core.sizes import mebibytes
from farthing.engine.plan.budget import MARGIN, budget_bytes, host_budget_bytes
from farthing.engine.plan.device import DeviceFacts
from farthing.engine.plan.ledger import Ledger, make_ledger, stored_weight_bytes
from farthing.engine.plan.plan import (
    FETCHED,
    Plan,
    choose_context,
    choose_format,
    compute_dtype,
    plan_of,
)
from farthing.engine.plan.prefix_memory import prefix_bytes, shares_prefixes
from farthing.engine.plan.run_mode import RESIDENCIES, ModelShape, Residency, Way
from farthing.quant.formats import FORMATS, weight_format

# A CPU is saturated by about a thousand tokens; more only makes other requests wait. A GPU wants many more.
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 4096, 16384
# Rows that are taken at a time between two attentions: bounds working memory without starving the matrix products.
CPU_CHUNK_TOKENS, GPU_CHUNK_TOKENS = 1024, 8192
# For a card that is short of memory; a few hundred rows would leave the card waiting.
SMALL_GPU_CHUNK_TOKENS = 2048
# The shortest contexts and batches that are accepted to keep weights exact, and to keep layers on the device or run at
# all.
EXACT_TOKENS, LEAST_TOKENS = 2048, 512


@dataclass(frozen=True)
class Option:
    """A way with its ledger, and the number of bytes by which it exceeds the budget."""

    way: Way
    ledger: Ledger
    short_bytes: int

    @property
    def fits(self) -> bool:
        return self.short_bytes == 0

    @property
    def num_bytes(self) -> int:
        return self.ledger.total(self.way.main_place)


def make_plan(settings: EngineSettings, facts: DeviceFacts, model: ModelShape) -> Plan:
    """The plan of the best way that fits.

    Raises:
        SettingsError: a setting asks for what the model or the device cannot do.
        DoesNotFitError: no way that the settings allow stays inside the memory.
    """
    found = list(options(settings, facts, model))
    chosen = next((option for option in found if option.fits), None)
    if chosen is None:
        raise too_large(settings, facts, model, found)
    way = chosen.way
    plan = plan_of(
        way, chosen.ledger, facts, budget_bytes(settings, facts), tuple(reasons(settings, facts, model, way))
    )
    is_second_best = way.format.name != choose_format(settings, facts)[0]
    return replace(plan, is_rounded=way.format.quantises and is_second_best)


def options(settings: EngineSettings, facts: DeviceFacts, model: ModelShape) -> Iterator[Option]:
    """Every way that the settings allow, best first. Raises as `make_plan` does."""
    seen = set()
    for way in ways(settings, facts, model):
        if way not in seen:
            seen.add(way)
            ledger = make_ledger(model, way)
            yield Option(way, ledger, short_bytes(settings, facts, way, ledger))


def short_bytes(settings: EngineSettings, facts: DeviceFacts, way: Way, ledger: Ledger) -> int:
    """The bytes that are missing on the device or, where the device has enough, on the host of a card."""
    budget, host_budget = budget_bytes(settings, facts), host_budget_bytes(settings, facts)
    on_device = 0 if budget is None else max(0, ledger.total(way.main_place) - budget)
    return on_device or (0 if host_budget is None else max(0, ledger.total("host") - host_budget))


def ways(settings: EngineSettings, facts: DeviceFacts, model: ModelShape) -> Iterator[Way]:
    check(settings, facts, model)
    for residency, names, least in kinds(settings, facts, model):
        for context, batch in lengths(settings, facts, model, least):
            for name in names:
                for keeps_table, chunk in savings(residency, facts):
                    yield make_way(settings, facts, model, name, residency, context, batch, keeps_table, chunk)


def kinds(
    settings: EngineSettings, facts: DeviceFacts, model: ModelShape
) -> Iterator[tuple[Residency, Sequence[str], int]]:
    """(residency, formats, shortest texts) to try, best first; of formats that are alike, long texts count for more."""
    best, smaller = formats(settings, facts, model)
    for residency in residencies(settings, facts):
        yield residency, possible(best, residency, facts, model), EXACT_TOKENS
        for name in possible(smaller, residency, facts, model):
            yield residency, (name,), LEAST_TOKENS
    for residency in residencies(settings, facts):
        yield residency, possible(best, residency, facts, model), LEAST_TOKENS


def possible(names: Sequence[str], residency: Residency, facts: DeviceFacts, model: ModelShape) -> Sequence[str]:
    return [name for name in names if residency != "disk" or not needs_folder(name, facts, model)]


def savings(residency: Residency, facts: DeviceFacts) -> Sequence[tuple[bool, int]]:
    """(keeps_table, chunk_tokens) to try; what saves memory at the least cost comes first."""
    if facts.on_card:
        return (True, GPU_CHUNK_TOKENS), (False, GPU_CHUNK_TOKENS), (False, SMALL_GPU_CHUNK_TOKENS)
    saved = (False, CPU_CHUNK_TOKENS)
    return (saved,) if residency == "disk" else ((True, CPU_CHUNK_TOKENS), saved)


def make_way(
    settings: EngineSettings,
    facts: DeviceFacts,
    model: ModelShape,
    name: str,
    residency: Residency,
    context_length: int,
    max_batch_tokens: int,
    keeps_table: bool,
    chunk_tokens: int,
) -> Way:
    form, dtype = weight_format(name), compute_dtype(name, facts)
    return Way(
        device=facts.device,
        others=facts.others,
        format=form,
        residency=residency,
        dtype=dtype,
        residual_dtype="fp32" if dtype == "fp16" else dtype,
        context_length=context_length,
        max_batch_tokens=max_batch_tokens,
        chunk_tokens=chunk_tokens,
        num_threads=settings.num_threads or facts.num_threads,
        keeps_table=keeps_table and (not facts.on_card or model.has_plain_table),
        unpacks=form.unpacks(on_card=facts.on_card, is_resident=residency == "resident", fast_fp8=facts.fast_fp8),
        shares_prefixes=shares_prefixes(settings, facts, model.spec),
        prefix_bytes=prefix_bytes(settings, facts, model.spec),
    )


def formats(settings: EngineSettings, facts: DeviceFacts, model: ModelShape) -> tuple[Sequence[str], Sequence[str]]:
    """The names of formats that may be taken: the best, or several exact ones, and smaller ones, the closest first."""
    best, _ = choose_format(settings, facts)
    if settings.format not in ("auto", "none"):
        return (best,), ()
    if weight_format(best).quantises:
        return (best,), [name for name in by_size() if least_bytes(name) < least_bytes(best)]
    exact = [best]
    # On a card the fastest format rounds as much as a smaller one would; on a CPU the stored one needs no rounding.
    if not facts.on_card and weight_format(model.stored).num_bytes(64, 64) < weight_format(best).num_bytes(64, 64):
        exact.append(model.stored)
    return exact, by_size() if settings.format == "auto" else ()


def by_size() -> list[str]:
    """The names of formats that quantise, the closest first, which take the most memory."""
    return sorted((name for name, form in FORMATS.items() if form.quantises), key=least_bytes, reverse=True)


def least_bytes(name: str) -> int:
    return weight_format(name).num_bytes(64, 64)


def lengths(settings: EngineSettings, facts: DeviceFacts, model: ModelShape, least: int) -> Iterator[tuple[int, int]]:
    """(context, token budget of a batch) to try: as asked for or usual, then with halves of what nobody asked for."""
    context, _ = choose_context(settings.context_length, model.spec, model.max_tokens)
    batch = settings.max_batch_tokens or (GPU_BATCH_TOKENS if facts.on_card else CPU_BATCH_TOKENS)
    longest = max(context, batch)
    while True:
        yield (
            context if settings.context_length else min(context, longest),
            batch if settings.max_batch_tokens else min(batch, longest),
        )
        longest //= 2
        if longest < least:
            return


def residencies(settings: EngineSettings, facts: DeviceFacts) -> Sequence[Residency]:
    if facts.others:
        return ("resident",)
    if settings.residency == "auto":
        return ("resident", "host", "disk") if facts.on_card else ("resident", "disk")
    if settings.residency == "host" and not facts.on_card:
        return ("resident",)
    return [name for name in RESIDENCIES if name == settings.residency]


def needs_folder(format_name: str, facts: DeviceFacts, model: ModelShape) -> bool:
    """Whether weights must be quantised beforehand to be read for each batch: quantising each time takes too long.

    For a CPU that is done at the first start (`farthing.serving.quantising.prepared`).
    """
    return weight_format(format_name).quantises and not model.is_quantised and not facts.is_native


def check(settings: EngineSettings, facts: DeviceFacts, model: ModelShape) -> None:
    if facts.others and settings.residency not in ("auto", "resident"):
        raise SettingsError(
            f"residency is {settings.residency!r}, and the device is {settings.device!r}: several cards share layers "
            "that stay on them. Give one card, or leave the residency out.",
            param="residency",
        )
    if settings.residency == "disk" and settings.format in FORMATS and needs_folder(settings.format, facts, model):
        raise SettingsError(
            f"residency is 'disk' and format {settings.format!r}, but the model's weights are not quantised yet. Do "
            f"that once: farthing quantize MODEL OUT --format {settings.format}; then give OUT as the model.",
            param="residency",
        )


def reasons(settings: EngineSettings, facts: DeviceFacts, model: ModelShape, way: Way) -> Iterator[str]:
    """A sentence for each choice that was not the user's."""
    best, why_best = choose_format(settings, facts)
    budget = budget_bytes(settings, facts)
    limit = "" if budget is None else mebibytes(budget)
    is_open = settings.residency == "auto" and not facts.others
    if way.format.name == best:
        yield from filter(None, (why_best,))
    elif way.format.quantises:
        kept = f"{limit}; with --format none they are exact, and fetched for each batch" if is_open else limit
        rounds, what = "rounds the weights", "no exact format fits"
        if weight_format(best).quantises:
            rounds, what = "rounds the weights more", f"{best} does not fit"
        yield f"{way.format.name}, which {rounds}, because {what} {kept}"
    else:
        yield f"{way.format.name}, in which the weights are stored, because {best} does not fit {limit}"
    if settings.residency == "auto" and way.residency != "resident":
        read = f" ({mebibytes(read_bytes(way, model))})" if way.residency == "disk" else ""
        yield f"layers {FETCHED[way.residency]}{read}, because they do not fit {limit} together"
    if settings.residency == "host" and way.residency == "resident":
        yield "layers resident, because on a CPU the host's memory is the device's"
    context, why_context = choose_context(settings.context_length, model.spec, model.max_tokens)
    if way.context_length < context:
        yield f"texts of up to {way.context_length:,} tokens of the {context:,} that the model takes, to fit {limit}"
    elif why_context:
        yield why_context


def read_bytes(way: Way, model: ModelShape) -> int:
    """The bytes of the layers in the model's files, or in those that are prepared in a format that quantises."""
    form = way.format if way.format.quantises else weight_format(model.stored)
    return stored_weight_bytes(model.layout, form)


def too_large(
    settings: EngineSettings, facts: DeviceFacts, model: ModelShape, found: Sequence[Option]
) -> DoesNotFitError:
    budget = budget_bytes(settings, facts)
    assert budget is not None
    least = min(found, key=lambda option: option.short_bytes)
    is_host_short = least.num_bytes <= budget
    if is_host_short:
        needed = f"{least.ledger.total('host'):,} bytes of the host's memory"
    else:
        needed = f"{least.num_bytes:,} bytes"
    reason = (
        f"Nothing that was asked for fits {mebibytes(budget)} ({budget:,} bytes): the least is {in_words(least.way)}, "
        f"which needs {needed}, {least.short_bytes:,} more."
    )
    folder = needs_folder(least.way.format.name, facts, model)
    or_else = ", or a folder that farthing quantize wrote, which can be read from disk" if folder else ""
    free = replace(settings, format="auto" if not model.is_quantised else settings.format, residency="auto")
    others = [option for option in options(free, facts, model) if option.fits]
    would_fit = f"{in_words(others[0].way)} would fit{or_else}" if others else ""
    if is_host_short:
        freed = mebibytes(int(least.short_bytes / (1 - MARGIN)) + 2**20)
        remedy = would_fit or f"Free {freed} of the host's memory{or_else}"
        return DoesNotFitError(f"{reason} {remedy}.", param="memory", short_bytes=least.short_bytes)
    return DoesNotFitError(
        reason,
        param="memory",
        short_bytes=least.short_bytes,
        least_bytes=enough_bytes(settings, facts, model, budget) + 2**20,  # to cover the rounding of a number in MiB
        or_else=f"; {would_fit}" if would_fit else or_else,
    )


def enough_bytes(settings: EngineSettings, facts: DeviceFacts, model: ModelShape, budget: int) -> int:
    """A memory size above the budget in which some way fits; what is taken in proportion to it grows as well."""
    while True:
        larger = replace(settings, memory=f"{budget}B")
        short = min(max(0, option.num_bytes - budget) for option in options(larger, facts, model))
        if not short:
            return budget
        budget += short


def in_words(way: Way) -> str:
    return f"{way.format.name}, {FETCHED[way.residency]}, with texts of up to {way.context_length:,} tokens"
