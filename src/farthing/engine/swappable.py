"""A loaded model whose run mode can change from one batch to the next.

In: batches from the worker's thread, and plans from whoever watches the memory. Out: rows; one plan runs a whole batch.
While the model is moved, batches wait. The weights of the old plan are freed before those of the new plan are read, so
that a move never needs both.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager

from farthing.core.deferred import dataclass
from farthing.core.errors import EngineError
from farthing.engine.describe import ModelDescription
from farthing.engine.plan.plan import Plan
from farthing.engine.runner import BatchOutput, Runner
from farthing.engine.weights.load import LoadedModel, load_weights, release_cached


@dataclass(frozen=True)
class Loaded:
    model: LoadedModel
    runner: Runner


class LiveModel:
    def __init__(self, model: LoadedModel) -> None:
        self._lock = threading.RLock()
        self._description = model.description
        self._loaded: Loaded | None = Loaded(model, Runner(model))

    @property
    def description(self) -> ModelDescription:
        return self._description

    @property
    def plan(self) -> Plan:
        return self._description.plan

    @property
    def is_loaded(self) -> bool:
        """False when a move failed and going back failed too."""
        return self._loaded is not None

    def run(self, texts: Sequence[Sequence[int]], per_token: bool = False) -> BatchOutput:
        """Run a batch as `Runner.run` does."""
        with self._lock:
            return self._now().runner.run(texts, per_token)

    def exclusive(self) -> AbstractContextManager[object]:
        """A lock; while it is held, no other thread's batch runs."""
        return self._lock

    def move(self, plan: Plan) -> None:
        """Run the next batches by `plan`; load the weights if they are not loaded.

        Raises:
            Exception: whatever loading raised; the model is then as it was before, if its weights could be loaded
                again.
        """
        with self._lock:
            before, self._description = self._description, self._description.with_plan(plan)
            if self._loaded is not None and not needs_loading(before.plan, plan):
                self._loaded.runner.limit_prefixes(plan.prefix_bytes)
                return
            try:
                self._load()
            except BaseException:
                self._description = before
                self._load()
                raise

    def _load(self) -> None:
        self._loaded = None
        release_cached(self._description.plan)
        model = load_weights(self._description)
        self._loaded = Loaded(model, Runner(model))

    def _now(self) -> Loaded:
        if self._loaded is None:
            raise EngineError("The model's weights could not be loaded again after memory ran short. The log says why.")
        return self._loaded


def needs_loading(one: Plan, other: Plan) -> bool:
    """Whether the plans' weights differ, or where they are held; the token budget is the scheduler's concern."""
    return (one.format, one.residency, one.dtype, one.keeps_table) != (
        other.format,
        other.residency,
        other.dtype,
        other.keeps_table,
    )
