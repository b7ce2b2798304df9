"""The public face: a loaded model that turns texts into vectors, for many callers at once.

In: texts and what is asked of the vectors. Out: float32 arrays. What happens to a request is in
`farthing.serving.pipeline`; here the parts are put together, asked, and closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import TracebackType

import numpy as np

from farthing.core.errors import MemoryShortError, TooManyTextsError
from farthing.core.resolve import resolve
from farthing.core.settings import EngineSettings, ServingSettings, SourceSettings
from farthing.core.space import VectorSpace
from farthing.engine.budget import less_memory
from farthing.engine.describe import describe_model
from farthing.engine.live import LiveModel
from farthing.engine.load import fingerprint, load_weights
from farthing.engine.plan import Plan, summary
from farthing.serving.closeness import in_words
from farthing.serving.governor import Governor, MemoryState, make_governor
from farthing.serving.health import Health
from farthing.serving.pipeline import Pipeline
from farthing.serving.prepare import Preparer
from farthing.serving.request import EmbedRequest, EmbedResult, InputType
from farthing.serving.scheduler import BatchLimits, Scheduler
from farthing.serving.slices import Collector
from farthing.serving.stats import ServingStats, StatsCounter
from farthing.serving.token_budget import TokenBudget
from farthing.serving.token_counter import counter_of
from farthing.serving.tokenizer import TextTokenizer, open_tokenizer
from farthing.serving.worker import BatchRunner, Worker
from farthing.sources.find import find_model

Govern = Callable[[TokenBudget, TextTokenizer], Governor]


class Embedder:
    """A model, loaded and ready.

    Args:
        model: a local folder or GGUF file, a Hugging Face id, `modelscope:ID`, or `starter`.
        settings: any of the settings in docs/settings.md that concern the model, engine or queue, by name.

    Raises:
        ModelError: the model cannot be found or used.
        SettingsError: a setting is unknown or out of range.
    """

    def __init__(self, model: str, **settings: object) -> None:
        resolved = resolve((SourceSettings, EngineSettings, ServingSettings), flags=settings)
        self._open(
            model, resolved.group(SourceSettings), resolved.group(EngineSettings), resolved.group(ServingSettings)
        )

    @classmethod
    def from_settings(
        cls,
        model: str,
        source: SourceSettings,
        engine: EngineSettings,
        serving: ServingSettings,
        *,
        may_round: bool = False,
        reserved_bytes: int = 0,
    ) -> Embedder:
        """
        Args:
            may_round: weights may be rounded when memory is short; only for callers who read each result's space.
            reserved_bytes: of the memory in the settings, what others in this process hold.
        """
        embedder = cls.__new__(cls)
        embedder._open(model, source, engine, serving, may_round=may_round, reserved_bytes=reserved_bytes)
        return embedder

    @classmethod
    def assemble(
        cls,
        model: str,
        origin: str,
        live: LiveModel,
        serving: ServingSettings,
        *,
        runner: BatchRunner | None = None,
        govern: Govern | None = None,
    ) -> Embedder:
        """An embedder of parts made elsewhere.

        Args:
            runner: runs the batches in the model's stead.
            govern: makes what watches the memory; nothing does without.
        """
        embedder = cls.__new__(cls)
        embedder._assemble(model, origin, open_tokenizer(live.description), live, serving, runner or live, govern)
        return embedder

    def _open(
        self,
        model: str,
        source: SourceSettings,
        engine: EngineSettings,
        serving: ServingSettings,
        *,
        may_round: bool = False,
        reserved_bytes: int = 0,
    ) -> None:
        found = find_model(model, source)
        description = describe_model(found.path, less_memory(engine, reserved_bytes))
        tokenizer = open_tokenizer(description)  # what is wrong with it should not wait for gigabytes of weights
        live = LiveModel(load_weights(description))
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
        self.model, self.origin = model, origin
        self._live, self._settings = live, serving
        plan = live.plan
        self._preparer = Preparer(tokenizer, plan.context_length, serving)
        limits = BatchLimits(plan.max_batch_tokens, serving.max_batch_size, serving.max_queue_texts)
        self._scheduler = Scheduler(limits, counter_of(live.description))
        budget = TokenBudget(self._scheduler)
        self._stats = StatsCounter()
        restart = serving.on_worker_death == "restart"
        self._worker = Worker(runner, self._scheduler, self._stats, budget, restart=restart)
        self._pool = ThreadPoolExecutor(serving.tokenizer_threads, thread_name_prefix="farthing-tokenizer")
        self._pipeline = Pipeline(live.description, self._preparer, self._scheduler, self._pool)
        self._governor = govern(budget, tokenizer) if govern is not None else None
        if self._governor is not None:
            self._governor.start()

    # --- facts ---------------------------------------------------------------------------------------------------

    @property
    def dimensions(self) -> int:
        """Length of the full vectors."""
        return self._live.description.spec.hidden

    @property
    def context_length(self) -> int:
        """Most tokens of one text, prompt and special tokens included."""
        return self.plan.context_length

    @property
    def plan(self) -> Plan:
        """How the model is run now."""
        return self._live.plan

    @property
    def space(self) -> VectorSpace:
        """Of full vectors of length 1 made now."""
        description = self._live.description
        return VectorSpace(
            model=self.model,
            fingerprint=fingerprint(description),
            pooling=description.embedding.pooling,
            dimensions=self.dimensions,
            normalized=True,
        )

    def facts(self) -> dict[str, str]:
        """Where the model came from and how it is run, in words, for start-up output."""
        return {"origin": self.origin, "dimensions": str(self.dimensions), **summary(self.plan), **self._closeness()}

    def _closeness(self) -> dict[str, str]:
        manifest = self._live.description.manifest
        return {} if manifest is None else {"closeness": in_words(manifest.closeness)}

    def health(self) -> Health:
        return self._worker.health

    def memory(self) -> MemoryState | None:
        """Which step to save memory is taken; None when nobody watches it."""
        return None if self._governor is None else self._governor.state()

    def stats(self) -> ServingStats:
        return self._stats.snapshot(self._scheduler.num_waiting_texts)

    # --- work ----------------------------------------------------------------------------------------------------

    def encode(
        self,
        texts: str | Sequence[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        instruction: str | None = None,
        input_type: InputType | None = None,
        dimensions: int | None = None,
        normalize: bool = True,
        truncate: bool | None = None,
        show_progress: bool = False,
    ) -> np.ndarray:
        """Vectors of any number of texts: float32 [texts, dimensions], or [dimensions] for a single str.

        The arguments are those of `EmbedRequest`.

        Raises:
            InputError: a text or an argument cannot be served as it is; the message names its index.
            EngineError, ServingError: the computation failed.
        """
        inputs = [texts] if isinstance(texts, str) else list(texts)
        request = EmbedRequest(inputs, prompt, prompt_name, instruction, input_type, dimensions, normalize, truncate)
        vectors = self._finish(request, self._pipeline.run(request, show_progress=show_progress)).vectors
        return vectors[0] if isinstance(texts, str) else vectors

    async def encode_async(
        self,
        texts: str | Sequence[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        instruction: str | None = None,
        input_type: InputType | None = None,
        dimensions: int | None = None,
        normalize: bool = True,
        truncate: bool | None = None,
    ) -> np.ndarray:
        """As `encode`, without blocking the event loop. Cancelling it takes its texts out of the queue."""
        inputs = [texts] if isinstance(texts, str) else list(texts)
        request = EmbedRequest(inputs, prompt, prompt_name, instruction, input_type, dimensions, normalize, truncate)
        vectors = self._finish(request, await self._pipeline.run_async(request)).vectors
        return vectors[0] if isinstance(texts, str) else vectors

    def embed(self, request: EmbedRequest) -> EmbedResult:
        """One request, of at most `max_texts_per_request` texts.

        Raises what `encode` raises, and `MemoryShortError` while no new work is taken.
        """
        self._admit(request)
        return self._finish(request, self._pipeline.run(request))

    async def embed_async(self, request: EmbedRequest) -> EmbedResult:
        """As `embed`, without blocking the event loop. Cancelling it takes its texts out of the queue."""
        self._admit(request)
        return self._finish(request, await self._pipeline.run_async(request))

    def _finish(self, request: EmbedRequest, collector: Collector) -> EmbedResult:
        space = replace(self.space, dimensions=request.dimensions or self.dimensions, normalized=request.normalize)
        return collector.result(replace(space, fingerprint=collector.fingerprint or space.fingerprint))

    def _admit(self, request: EmbedRequest) -> None:
        memory = self.memory()
        if memory is not None and memory.refuses:
            raise MemoryShortError(
                "Memory is short and nothing more can be freed; no new work is taken until there is room. Try again in "
                "a while."
            )
        limit = self._settings.max_texts_per_request
        if len(request.inputs) > limit:
            raise TooManyTextsError(
                f"The request has {len(request.inputs)} texts; at most {limit} are taken at once "
                "(max_texts_per_request). Send several requests.",
                param="input",
            )

    # --- end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Finish what was accepted, then refuse work. Closing twice is fine."""
        if self._governor is not None:
            self._governor.close()
        self._pool.shutdown()
        self._worker.close()

    def __enter__(self) -> Embedder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
