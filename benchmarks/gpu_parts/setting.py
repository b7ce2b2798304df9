"""What is measured: a card with the published shapes, or the same code on a CPU with tiny ones.

A section yields cases; each is run by itself, so that one that fails costs no other. A case returns figures by name.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch

from farthing.cli.bench.model import synthetic_checkpoint
from farthing.cli.bench.workloads import MIXED
from farthing.core.settings import EngineSettings, SourceSettings
from farthing.engine.weights.load import LoadedModel, load_model

T = TypeVar("T")
Figures = dict[str, float | int | str | bool]


@dataclass(frozen=True)
class Case:
    name: str
    run: Callable[[], Figures]


@dataclass(frozen=True, eq=False)  # so that it can be a key
class Setting:
    """
    Attributes:
        models: the folder of each model.
        workloads: tokens of each text, by name.
        context_length, max_batch_tokens: of the section "speed".
        long_tokens: the longest text of the imitated small cards.
        bulk_tokens: of a batch where layers are fetched for it.
        square: widths of the square products whose best is the peak.
        seconds: for which a product is repeated.
    """

    device: str
    models: Mapping[str, Path]
    workloads: Mapping[str, tuple[int, ...]]
    context_length: int
    max_batch_tokens: int
    long_tokens: int
    bulk_tokens: int
    square: tuple[int, ...]
    seconds: float
    rounds: int

    @property
    def on_card(self) -> bool:
        return self.device != "cpu"


def full_setting(cache: str | None) -> Setting:
    return Setting(
        device="cuda:0",
        models=make_models({"0.6b": "qwen3-0.6b", "4b": "qwen3-4b", "8b": "qwen3-8b"}, cache),
        workloads={"8x512": (512,) * 8, "32x512": (512,) * 32, "mixed": MIXED},
        context_length=8192,
        max_batch_tokens=16384,
        long_tokens=32768,
        bulk_tokens=32768,
        square=(4096, 8192, 12288),
        seconds=0.3,
        rounds=5,
    )


def small_setting(cache: str | None) -> Setting:
    tiny = make_models({"tiny": "qwen3-tiny"}, cache)["tiny"]
    return Setting(
        device="cpu",
        models=dict.fromkeys(("0.6b", "4b", "8b"), tiny),
        workloads={"8x512": (16,) * 2, "32x512": (16,) * 4, "mixed": (3, 9, 30)},
        context_length=64,
        max_batch_tokens=64,
        long_tokens=128,
        bulk_tokens=64,
        square=(64,),
        seconds=0.001,
        rounds=1,
    )


def make_models(shapes: Mapping[str, str], cache: str | None) -> dict[str, Path]:
    """Synthetic checkpoints, made side by side where they are not there yet."""
    settings = SourceSettings(cache_dir=cache)
    if len(shapes) == 1:
        return {name: synthetic_checkpoint(shape, settings) for name, shape in shapes.items()}
    with ProcessPoolExecutor(len(shapes), mp_context=get_context("spawn")) as pool:
        made = {name: pool.submit(synthetic_checkpoint, shape, settings) for name, shape in shapes.items()}
        return {name: future.result() for name, future in made.items()}


def load(setting: Setting, model: str, **settings: object) -> LoadedModel:
    num_threads = None if setting.on_card else 1  # tiny operations on several threads are mostly waiting
    chosen = EngineSettings(device=setting.device, num_threads=num_threads, **settings)  # type: ignore[arg-type]
    return load_model(setting.models[model], chosen)


def synchronise(setting: Setting) -> None:
    if setting.on_card:
        torch.cuda.synchronize()


def best_seconds(setting: Setting, call: Callable[[], object]) -> float:
    """Of one call, when it is repeated for a while: the best of three such whiles."""
    for _ in range(2):
        call()
    synchronise(setting)
    whiles = []
    for _ in range(3):
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < setting.seconds or not count:
            call()
            count += 1
            if count % 10 == 0:
                synchronise(setting)
        synchronise(setting)
        whiles.append((time.perf_counter() - started) / count)
    return min(whiles)


def median_seconds(setting: Setting, call: Callable[[T], object], make: Callable[[int], T]) -> float:
    """Of one call that waits for its result, after one that warms up; `make` gives what each is called with."""
    call(make(-1))
    seconds = []
    for number in range(setting.rounds):
        made = make(number)
        started = time.perf_counter()
        call(made)
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def clean_up(setting: Setting) -> None:
    """Give a card's memory back and forget its peak."""
    gc.collect()
    if setting.on_card:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
