"""Section "small": small cards, imitated by limiting what torch may take of a large one; and peaks against the plan."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from farthing.cli.bench.workloads import MIXED, make_texts
from farthing.core.sizes import parse_bytes
from farthing.engine.runner import Runner
from farthing.engine.weights.load import LoadedModel
from gpu_parts.setting import Case, Figures, Setting, load

# Model, format, memory, and whether a text of the longest length must be embedded.
SMALL_CARDS = (
    ("4b", "bf16", "9.5GB", True),
    ("4b", "nf4", "3.5GB", False),
    ("8b", "nf4", "6GB", False),
    ("0.6b", "auto", "1.6GB", False),
)


def small(setting: Setting) -> Iterator[Case]:
    for model, name, memory, is_long in SMALL_CARDS:
        yield Case(f"{model} {name} in {memory}", partial(on_small_card, setting, model, name, memory, is_long))


def on_small_card(setting: Setting, model: str, name: str, memory: str, is_long: bool) -> Figures:
    """The longest text of the plan, a full batch and mixed lengths on a card of that size."""
    limit_bytes = parse_bytes(memory)
    assert limit_bytes is not None
    if setting.on_card:
        total = torch.cuda.mem_get_info()[1]
        torch.cuda.set_per_process_memory_fraction(limit_bytes / total)
    try:
        context = setting.long_tokens if is_long else None
        loaded = load(setting, model, format=name, memory=memory, context_length=context)
        plan, runner = loaded.plan, Runner(loaded)
        longest = min(plan.context_length, setting.long_tokens)
        short = min(512, longest)
        for lengths in ((longest,), (short,) * max(1, min(plan.max_batch_tokens, 16384) // short), MIXED[:8]):
            texts = make_texts(lengths, vocab=loaded.spec.vocab, max_tokens=longest)
            assert not runner.run(texts).errors
        return {
            "format": plan.format.name,
            "residency": plan.residency,
            "longest text": longest,
            **peak_figures(setting, loaded),
        }
    finally:
        if setting.on_card:
            torch.cuda.set_per_process_memory_fraction(1.0)


def peak_figures(setting: Setting, loaded: LoadedModel) -> Figures:
    """MiB that were planned, that torch took at most, and that the driver's context and libraries take beside it."""
    planned = loaded.plan.ledger.total(loaded.plan.main_place)
    figures: Figures = {"planned MiB": planned / 2**20}
    if setting.on_card:
        free, total = torch.cuda.mem_get_info()
        reserved = torch.cuda.max_memory_reserved()
        figures["reserved MiB"] = reserved / 2**20
        figures["allocated MiB"] = torch.cuda.max_memory_allocated() / 2**20
        figures["planned/reserved"] = planned / reserved
        figures["context MiB"] = (total - free - torch.cuda.memory_reserved()) / 2**20
    return figures
