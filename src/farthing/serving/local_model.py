"""A loaded model behind its queue: what `Embedder` and `Reranker` have in common.

In: a model's name and settings, or parts made elsewhere. Out: a running worker with its scheduler, counters, and a
watch over the memory, which can be asked for facts, and closed. What happens to a request is the subclasses' business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import ClassVar, TypeVar

from farthing.core.errors import MemoryShortError
from farthing.core.progress import OnStep, progress_bars, untold
from farthing.core.resolve import resolve
from farthing.core.settings import EngineSettings, ServingSettings, SourceSettings
from farthing.engine.describe import describe_model
from farthing.engine.plan.plan import Plan, summary
from farthing.engine.swappable import LiveModel
from farthing.engine.weights.load import load_weights
from farthing.models.forward.heads import Task
from farthing.models.spec import ModelSpec
from farthing.serving.governor import Governor, MemoryState, make_governor
from farthing.serving.quantising.prepared import prepared
from farthing.serving.queue.admission import QueueLimits
from farthing.serving.queue.batch import Batch
from farthing.serving.queue.scheduler import BatchLimits, Scheduler
from farthing.serving.queue.token_budget import TokenBudget
from farthing.serving.queue.token_counter import counter_of
from farthing.serving.request import check_number
from farthing.serving.stats import Health, Observer, ServingStats, StatsCounter
from farthing.serving.text.pools import TokenizerPools
from farthing.serving.text.tokenizer import TextTokenizer, open_tokenizer
from farthing.serving.worker import BatchRunner, Worker
from farthing.sources.find import find_model
from farthing.sources.local import ModelSource

Govern = Callable[[TokenBudget, TextTokenizer], Governor]
Served = TypeVar("Served", bound="ServedModel")


class ServedModel:
    """A model, loaded and ready.

    Args:
        model: a local folder or GGUF file, a Hugging Face id, `modelscope:ID`, or `starter`.
        settings: any of the settings in docs/settings.md that concern the model, engine or queue, by name.

    Raises:
        ModelError: the model cannot be found or used.
        SettingsError: a setting is unknown or out of range.
    """

    task: ClassVar[Task]

    def __init__(self, model: str, **settings: object) -> None:
        resolved = resolve((SourceSettings, EngineSettings, ServingSettings), flags=settings)
        source = resolved.group(SourceSettings)
        found = find_model(model, source)
        with progress_bars() as on_step:
            self._open(
                model, found, source, resolved.group(EngineSettings), resolved.group(ServingSettings), on_step=on_step
            )

    @classmethod
    def from_settings(
        cls: type[Served],
        model: str,
        source: SourceSettings,
        engine: EngineSettings,
        serving: ServingSettings,
        *,
        found: ModelSource | None = None,
        may_round: bool = False,
        planned: EngineSettings | None = None,
        on_step: OnStep = untold,
    ) -> Served:
        """Load a model with given groups of settings.

        Args:
            on_step: told how far the model is with being prepared and loaded.
            found: where the model is, for callers who know; without it, the model is looked for.
            may_round: whether weights may be rounded when memory is short; only for callers who read each result's
                space.
            planned: settings to plan with, where others in this process hold a part of the memory in `engine`.
        """
        served = cls.__new__(cls)
        found = found or find_model(model, source)
        served._open(
            model,
            found,
            source,
            engine,
            serving,
            may_round=may_round,
            planned=planned,
            on_step=on_step,
        )
        return served

    @classmethod
    def assemble(
        cls: type[Served],
        model: str,
        origin: str,
        live: LiveModel,
        serving: ServingSettings,
        *,
        runner: BatchRunner | None = None,
        govern: Govern | None = None,
    ) -> Served:
        """Make a served model of parts made elsewhere.

        Args:
            runner: runs the batches in the model's stead.
            govern: makes the governor that watches the memory; without it, nothing does.
        """
        served = cls.__new__(cls)
        served._assemble(model, origin, open_tokenizer(live.description), live, serving, runner or live, govern)
        return served

    def _open(
        self,
        model: str,
        found: ModelSource,
        source: SourceSettings,
        engine: EngineSettings,
        serving: ServingSettings,
        *,
        may_round: bool = False,
        planned: EngineSettings | None = None,
        on_step: OnStep = untold,
    ) -> None:
        description = describe_model(found.path, planned or engine, self.task)
        description = prepared(model, description, planned or engine, source, self.task, on_step)
        tokenizer = open_tokenizer(description)  # first: errors in it should not wait for gigabytes of weights
        live = LiveModel(load_weights(description, partial(on_step, f"Loading {model}")))
        govern = partial(make_governor, live, engine, serving, may_round=may_round and serving.memory_steps == "all")
        self._assemble(
            model, found.origin, tokenizer, live, serving, live, None if serving.memory_steps == "off" else govern
        )

    def _assemble(
        self,
        model: str,
        origin: str,
        tokenizer: TextTokenizer,
        live: LiveModel,
        serving: ServingSettings,
        runner: BatchRunner,
        govern: Govern | None,
    ) -> None:
        self.model, self.origin, self.tokenizer = model, origin, tokenizer
        self._live, self._settings = live, serving
        plan = live.plan
        limits = BatchLimits(plan.max_batch_tokens, serving.max_batch_size)
        self._scheduler = Scheduler(limits, counter_of(live.description), queue_limits(serving))
        budget = TokenBudget(self._scheduler)
        self._stats = StatsCounter()
        restart = serving.on_worker_death == "restart"
        self._worker = Worker(runner, self._scheduler, self._stats, budget, restart=restart)
        self._pools = TokenizerPools(serving.tokenizer_threads)
        self._prepare_with(tokenizer)
        self._governor = govern(budget, tokenizer) if govern is not None else None
        if self._governor is not None:
            self._governor.start()

    @property
    def _run_here(self) -> Callable[[Batch], None] | None:
        """What runs a short batch on its caller's thread; None on a card, which one thread alone talks to."""
        return None if self.plan.on_card else self._worker.run_for_caller

    def _prepare_with(self, tokenizer: TextTokenizer) -> None:
        """Make what requests go through before they reach the queue."""
        raise NotImplementedError

    def __repr__(self) -> str:
        facts = [repr(self.model), *self._own_facts(), f"format={self.plan.format.name!r}"]
        return f"{type(self).__name__}({', '.join(facts)}, device={self.plan.device!r})"

    def _own_facts(self) -> Iterator[str]:
        """What the repr says of this kind of model."""
        return iter(())

    # --- facts ---------------------------------------------------------------------------------------------------

    @property
    def local(self) -> ServedModel:
        """This model (`farthing.serving.backend.Backend`)."""
        return self

    @property
    def context_length(self) -> int:
        """The most tokens of one text or pair, with all that stands around it."""
        return self.plan.context_length

    @property
    def spec(self) -> ModelSpec:
        """The model's shape."""
        return self._live.description.spec

    @property
    def settings(self) -> ServingSettings:
        """How requests are taken."""
        return self._settings

    @property
    def plan(self) -> Plan:
        """How the model is run now."""
        return self._live.plan

    def facts(self) -> dict[str, str]:
        """Where the model came from and how it is run, in words, for start-up output."""
        return {"origin": self.origin, **summary(self.plan), **self._closeness()}

    def _closeness(self) -> dict[str, str]:
        manifest = self._live.description.manifest
        if manifest is None:
            return {}
        from farthing.serving.quantising.closeness import in_words  # not needed to embed

        return {"closeness": in_words(manifest.closeness)}

    def health(self) -> Health:
        return self._worker.health

    def memory(self) -> MemoryState | None:
        """Which step to save memory is in force; None when nobody watches the memory."""
        return None if self._governor is None else self._governor.state()

    def planned_bytes(self) -> Mapping[tuple[str, str], int]:
        """The bytes that the plan in force counts with, by entry and place."""
        return {(entry.name, entry.place): entry.num_bytes for entry in self.plan.ledger.entries}

    def count_requests(self, read_bytes: Callable[[], int]) -> None:
        """As `Governor.count_requests`."""
        if self._governor is not None:
            self._governor.count_requests(read_bytes)

    def on_memory_step(self, call: Callable[[int], None]) -> None:
        """Tell `call`, from any thread, the number of each step to save memory; 0 means that none is in force."""
        if self._governor is not None:
            self._governor.on_step(call)

    def stats(self) -> ServingStats:
        return self._stats.snapshot(self._scheduler.stats())

    def tell(self, observer: Observer) -> None:
        """Tell `observer`, from now on, how long texts wait and batches run."""
        self._scheduler.observer = self._worker.observer = observer

    def _admit(self, num_texts: int, param: str) -> None:
        """Raise an error when a request of that many texts is not taken.

        Raises:
            MemoryShortError: no new work is taken.
            TooManyTextsError: the request is too large.
        """
        self._check_memory()
        check_number(num_texts, self._settings, param)

    def _check_memory(self) -> None:
        """Raise `MemoryShortError` while no new work is taken."""
        memory = self.memory()
        if memory is not None and memory.refuses:
            raise MemoryShortError(
                "Memory is short and nothing more can be freed; no new work is taken until there is room. Try again in "
                "a while."
            )

    # --- end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Finish what was accepted, then refuse work. Closing twice is fine."""
        if self._governor is not None:
            self._governor.close()
        self._pools.shutdown()
        self._worker.close()

    def __enter__(self: Served) -> Served:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def queue_limits(serving: ServingSettings) -> QueueLimits:
    max_wait_s = None if serving.max_queue_ms is None else serving.max_queue_ms / 1000
    return QueueLimits(serving.max_queue_texts, serving.max_queue_tokens, max_wait_s, serving.bulk_share)
