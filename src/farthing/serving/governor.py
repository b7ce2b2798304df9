"""Keeps a served model inside the memory that there is while others take theirs: down a ladder, and up again.

In: readings of the memory, twice a second. Out: steps, one at a time, each logged and counted: smaller batches, weights
as they are stored, layers fetched for each batch, weights rounded further (if they stay close enough, and only where
the caller is told), requests that asked for any model answered by a small one, and at last no new work until there is
room. A step up waits until memory would stay well below the mark after it, and has had that much room for a while.

The governor decides when to step; `farthing.engine.ladder` knows which steps there are, and `farthing.engine.swappable`
takes them.

A `Mover` brings a live model to a rung of its ladder, and says whether the model now runs as the rung says. Weights
that are rounded on the way must stay close to the exact ones. How close they are is measured on a few texts of the
built-in sample, with the model's own weights, while batches wait.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from farthing.core.deferred import dataclass
from farthing.core.settings import EngineSettings, ServingSettings
from farthing.core.sizes import parse_bytes
from farthing.engine.ladder import Rung, make_rungs
from farthing.engine.memory import Trimmer
from farthing.engine.meter import HostMeter, MemoryMeter, MemoryReading
from farthing.engine.plan.device import DeviceFacts, device_facts
from farthing.engine.swappable import LiveModel
from farthing.engine.weights.load import release_cached
from farthing.models.config import is_synthetic
from farthing.serving.quantising.closeness import compare, sample_texts
from farthing.serving.queue.token_budget import TokenBudget
from farthing.serving.text.tokenizer import TextTokenizer

logger = logging.getLogger(__name__)
FALLBACK: Literal["small model answers"] = "small model answers"
REFUSED: Literal["work refused"] = "work refused"
NUM_TEXTS = 32  # of the sample: seconds of work, where the whole sample would take minutes


class Mover:
    """Moves a live model to a rung.

    `min_fidelity` is the least mean cosine to the vectors as planned; synthetic weights may be under it.
    """

    def __init__(self, live: LiveModel, tokenizer: TextTokenizer, min_fidelity: float) -> None:
        self._live, self._tokenizer = live, tokenizer
        self._min_fidelity = 0.0 if is_synthetic(live.description.checkpoint.config) else min_fidelity
        self._reference: np.ndarray | None = None  # [texts, hidden], of the weights before any was rounded

    def __call__(self, rung: Rung) -> bool:
        """Move to the rung, and return whether the model now runs as it says. Raises what `LiveModel.move` raises."""
        if rung.keeps_vectors or self._min_fidelity == 0:
            self._live.move(rung.plan)
            return True
        with self._live.exclusive():
            before = self._live.plan
            if self._reference is None:
                self._reference = self._unit_vectors()
            self._live.move(rung.plan)
            cosine = compare(self._reference, self._unit_vectors()).cosine_mean
            if cosine >= self._min_fidelity:
                logger.warning(
                    "Weights in %s have a mean cosine of %.4f to those as planned.", rung.plan.format.name, cosine
                )
                return True
            logger.warning(
                "Weights in %s would have a mean cosine of %.4f, under the least of %.4f (min_fidelity), and are not "
                "used.",
                rung.plan.format.name,
                cosine,
                self._min_fidelity,
            )
            self._live.move(before)
            return False

    def _unit_vectors(self) -> np.ndarray:
        """The unit vectors of a few texts of the sample: [texts, hidden]."""
        texts = sample_texts()
        sample = self._tokenizer.encode(texts[:: max(1, len(texts) // NUM_TEXTS)])
        cut = [self._tokenizer.truncate(ids, self._live.plan.context_length) for ids in sample]
        rows = np.concatenate([self._live.run([text]).rows for text in cut])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@dataclass(frozen=True)
class Thresholds:
    """
    Attributes:
        high: level from which on memory is short.
        low: level that a step up must stay below.
        stalled: share of the time lost to waiting for memory, from which on `low` counts instead of `high`.
        interval_s: seconds between two readings.
        settle_s: seconds after a step, before the next step down.
        relief_s: seconds for which there must be room before a step up.
    """

    high: float = 0.9
    low: float = 0.765
    stalled: float = 0.1
    interval_s: float = 0.5
    settle_s: float = 2.0
    relief_s: float = 10.0


@dataclass(frozen=True)
class MemoryState:
    """
    Attributes:
        step: 0 for the model as planned, and one more for each step down.
        name: name of the step.
        answers_by_fallback: whether requests for any model go to the small one.
        refuses: whether no new work is taken.
    """

    step: int
    name: str
    answers_by_fallback: bool
    refuses: bool
    steps_down_total: int
    steps_up_total: int
    readings: tuple[MemoryReading, ...]


class Governor:
    """
    Args:
        rungs: ways to run the model, each with less memory than the one before (`farthing.engine.ladder`).
        move: brings the model to a rung's plan; returns False when the rung turns out not to be usable.
        has_fallback: whether there is a small model to answer for this one.
    """

    def __init__(
        self,
        live: LiveModel,
        rungs: Sequence[Rung],
        budget: TokenBudget,
        meter: MemoryMeter,
        move: Callable[[Rung], bool],
        thresholds: Thresholds,
        *,
        has_fallback: bool = False,
    ) -> None:
        self._live, self._rungs, self._budget = live, rungs, budget
        self._meter, self._move, self._thresholds = meter, move, thresholds
        self._last_resorts = ["", *([FALLBACK] if has_fallback else []), REFUSED]
        self._unusable: set[int] = set()
        self._rung = self._resort = self._num_down = self._num_up = 0
        self._stepped_at = self._room_since = float("-inf")
        self._has_room = False
        self._trimmer = Trimmer()
        self._on_step: list[Callable[[int], None]] = []
        self._read_requests: Callable[[], int] = lambda: 0
        self._readings: tuple[MemoryReading, ...] = ()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="farthing-governor", daemon=True)

    def on_step(self, call: Callable[[int], None]) -> None:
        """Have `call` told each step, by its number, so that others that hold memory can give some up.

        They are told before freed memory is given back.
        """
        self._on_step.append(call)

    def count_requests(self, read_bytes: Callable[[], int]) -> None:
        """Have `read_bytes` tell how much memory the requests in work hold on the host.

        This memory is no reason for a step that others would see in their answers: it has a limit of its own, and is
        gone when the requests are answered.
        """
        self._read_requests = read_bytes

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def state(self) -> MemoryState:
        name = self._last_resorts[self._resort]
        return MemoryState(
            step=self._rung + self._resort,
            name=name or self._rungs[self._rung].name,
            answers_by_fallback=FALLBACK in self._last_resorts[: self._resort + 1],
            refuses=name == REFUSED,
            steps_down_total=self._num_down,
            steps_up_total=self._num_up,
            readings=self._readings,
        )

    def _watch(self) -> None:
        while not self._closing.wait(self._thresholds.interval_s):
            try:
                self.tick(time.monotonic())
            except Exception:  # a step that failed is tried again; a watch that ended would never be noticed
                logger.exception("A step to save memory failed")

    def tick(self, now_s: float) -> None:
        """Read the memory and take at most one step. Raises what the step raises; the model then runs as before."""
        self._readings = tuple(self._meter.read())
        self._trimmer.watch(sum(reading.used_bytes for reading in self._readings if reading.place == "host"))
        if not self._live.is_loaded:
            self._live.move(self._live.plan)
        if self._is_any_short():
            self._has_room = False
            if now_s - self._stepped_at >= self._thresholds.settle_s and self._is_short_after_release():
                self._step_down(now_s)
        elif not self._can_step_up():
            self._has_room = False
        elif not self._has_room:
            self._has_room, self._room_since = True, now_s
        elif now_s - self._room_since >= self._thresholds.relief_s:
            self._step_up(now_s)

    def _is_any_short(self) -> bool:
        return any(self._is_short(reading) for reading in self._readings)

    def _is_short_after_release(self) -> bool:
        """Give back memory that was freed and is only kept for later, and return whether memory is still short."""
        gc.collect()  # of what failed requests hold in circles
        release_cached(self._live.plan)
        self._readings = tuple(self._meter.read())
        return self._is_any_short()

    def _is_short_without_requests(self) -> bool:
        num_bytes = self._read_requests()
        return any(
            self._is_short(
                replace(reading, used_bytes=max(0, reading.used_bytes - num_bytes))
                if reading.place in ("host", "budget")
                else reading
            )
            for reading in self._readings
        )

    def _is_short(self, reading: MemoryReading) -> bool:
        """Whether memory is short by this reading.

        A budget may be used to its end, as the plan does; memory that is free for everyone may not.
        """
        if reading.place == "budget":
            return reading.level > 1
        return reading.level > (
            self._thresholds.low if reading.stalled >= self._thresholds.stalled else self._thresholds.high
        )

    def _step_down(self, now_s: float) -> None:
        """Go to the next rung that can be reached; after the last one, to the last resorts."""
        may_be_seen = self._is_short_without_requests()
        lower = (
            rung
            for rung in range(self._rung + 1, len(self._rungs))
            if rung not in self._unusable and (may_be_seen or self._rungs[rung].keeps_vectors)
        )
        reachable = next((rung for rung in lower if self._host_has_room(rung)), None)
        if reachable is not None:
            self._go(reachable, self._resort, now_s)
        elif may_be_seen and self._resort < len(self._last_resorts) - 1:
            self._go(self._rung, self._resort + 1, now_s)

    def _step_up(self, now_s: float) -> None:
        if self._resort:
            self._go(self._rung, self._resort - 1, now_s)
        else:
            self._go(self._rung_above(), 0, now_s)

    def _can_step_up(self) -> bool:
        """Whether there is a step up, and memory would be well below the mark after it."""
        if self._rung == self._resort == 0:
            return False
        above = self._rung if self._resort else self._rung_above()
        return all(self._leaves_room(reading, above) for reading in self._readings)

    def _rung_above(self) -> int:
        return max(rung for rung in range(self._rung) if rung not in self._unusable)

    def _leaves_room(self, reading: MemoryReading, rung: int) -> bool:
        level = (reading.used_bytes + self._extra_bytes(rung, reading.place)) / max(1, reading.limit_bytes)
        is_low = level <= (1 if reading.place == "budget" else self._thresholds.low)
        return is_low and reading.stalled < self._thresholds.stalled

    def _host_has_room(self, rung: int) -> bool:
        """Whether the host has room for what a step moves to it from the card."""
        extra = self._extra_bytes(rung, "host")
        hosts = [reading for reading in self._readings if reading.place == "host"]
        return extra <= 0 or all(read.used_bytes + extra <= self._thresholds.high * read.limit_bytes for read in hosts)

    def _extra_bytes(self, rung: int, place: str) -> int:
        """How many bytes more a rung takes than the present one, by the plans' ledgers."""
        new, now = self._rungs[rung], self._rungs[self._rung]
        if place == "budget":
            return new.num_bytes - now.num_bytes
        return bytes_at(new, place) - bytes_at(now, place)

    def _go(self, rung: int, resort: int, now_s: float) -> None:
        self._stepped_at, self._has_room = now_s, False  # also for a step that fails: it is not tried again at once
        before, started = self.state(), time.perf_counter()
        self._budget.set_ceiling(self._rungs[rung].plan.max_batch_tokens)
        for call in self._on_step:
            call(rung + resort)
        release_cached(self._live.plan)
        if rung != self._rung and not self._move(self._rungs[rung]):
            self._unusable.add(rung)
            return
        self._rung, self._resort = rung, resort
        after = self.state()
        self._num_down += after.step > before.step
        self._num_up += after.step < before.step
        logger.warning(
            "Memory is %s (%s): %s -> %s, in %.1f s.",
            "short" if after.step > before.step else "free again",
            in_words(self._readings),
            before.name,
            after.name,
            time.perf_counter() - started,
        )


def bytes_at(rung: Rung, place: str) -> int:
    return sum(entry.num_bytes for entry in rung.plan.ledger.entries if entry.place == place)


def in_words(readings: Sequence[MemoryReading]) -> str:
    return ", ".join(
        f"{reading.place} {reading.used_bytes / 2**20:,.0f} of {reading.limit_bytes / 2**20:,.0f} MiB"
        for reading in readings
    )


def make_governor(
    live: LiveModel,
    engine: EngineSettings,
    serving: ServingSettings,
    budget: TokenBudget,
    tokenizer: TextTokenizer,
    *,
    may_round: bool,
) -> Governor:
    """The governor of a model that was loaded with these settings."""
    plan = live.plan
    devices = (plan.device, *plan.others)
    facts = device_facts(",".join(devices))
    rungs = make_rungs(live.description, engine, facts, may_round=may_round)
    limit = parse_bytes(engine.memory) if engine.memory not in ("auto", "none") else None
    meter = meter_of(facts, limit)
    move = Mover(live, tokenizer, engine.min_fidelity)
    return Governor(live, rungs, budget, meter, move, Thresholds(), has_fallback=serving.fallback_model is not None)


def meter_of(facts: DeviceFacts, limit_bytes: int | None) -> MemoryMeter:
    if not facts.on_card:
        return HostMeter(limit_bytes)
    from farthing.engine.cards.meter import CardMeter

    return CardMeter((facts.device, *facts.others), limit_bytes)
