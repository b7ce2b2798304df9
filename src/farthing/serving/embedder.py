"""The public face: a loaded model that turns texts into vectors, for many callers at once.

In: texts and what is asked of the vectors. Out: float32 arrays. A request is cut into slices; each is tokenised while
earlier ones are computed, and queued as one job. Sync and async calls differ only in who waits for the futures.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import numpy as np
from tqdm import tqdm

from farthing.core.errors import SettingsError, TooManyTextsError
from farthing.core.resolve import resolve
from farthing.core.settings import EngineSettings, ServingSettings, SourceSettings
from farthing.core.space import VectorSpace
from farthing.engine.describe import ModelDescription, describe_model
from farthing.engine.load import LoadedModel, load_weights
from farthing.engine.plan import Plan, summary
from farthing.engine.runner import Runner
from farthing.serving.closeness import in_words
from farthing.serving.health import Health
from farthing.serving.prepare import Prepared, Preparer
from farthing.serving.prompts import prompt_prefix
from farthing.serving.request import EmbedRequest, EmbedResult, InputType
from farthing.serving.scheduler import BatchLimits, Job, Scheduler
from farthing.serving.slices import Collector, Running, Slice, cancel, wait, wait_async
from farthing.serving.stats import ServingStats, StatsCounter
from farthing.serving.tokenizer import TextTokenizer
from farthing.serving.worker import BatchRunner, Worker
from farthing.sources.find import find_model

# Texts that are tokenised and queued together: enough to fill a batch of short ones.
SLICE_TEXTS = 256
# Slices of one call that wait or run at the same time: bounds memory, keeps the device busy.
SLICES_IN_FLIGHT = 4


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
        cls, model: str, source: SourceSettings, engine: EngineSettings, serving: ServingSettings
    ) -> Embedder:
        embedder = cls.__new__(cls)
        embedder._open(model, source, engine, serving)
        return embedder

    @classmethod
    def assemble(
        cls, model: str, origin: str, loaded: LoadedModel, runner: BatchRunner, serving: ServingSettings
    ) -> Embedder:
        """An embedder of parts made elsewhere."""
        embedder = cls.__new__(cls)
        embedder._assemble(model, origin, open_tokenizer(loaded.description), loaded, runner, serving)
        return embedder

    def _open(self, model: str, source: SourceSettings, engine: EngineSettings, serving: ServingSettings) -> None:
        found = find_model(model, source)
        description = describe_model(found.path, engine)
        tokenizer = open_tokenizer(description)  # what is wrong with it should not wait for gigabytes of weights
        loaded = load_weights(description)
        self._assemble(model, found.origin, tokenizer, loaded, Runner(loaded), serving)

    def _assemble(
        self,
        model: str,
        origin: str,
        tokenizer: TextTokenizer,
        loaded: LoadedModel,
        runner: BatchRunner,
        serving: ServingSettings,
    ) -> None:
        self.model, self.origin = model, origin
        self._loaded, self._settings = loaded, serving
        self._preparer = Preparer(tokenizer, loaded.plan.context_length, serving)
        limits = BatchLimits(loaded.plan.max_batch_tokens, serving.max_batch_size, serving.max_queue_texts)
        self._scheduler = Scheduler(limits)
        self._stats = StatsCounter()
        self._worker = Worker(runner, self._scheduler, self._stats, restart=serving.on_worker_death == "restart")
        self._pool = ThreadPoolExecutor(serving.tokenizer_threads, thread_name_prefix="farthing-tokenizer")

    # --- facts ---------------------------------------------------------------------------------------------------

    @property
    def dimensions(self) -> int:
        """Length of the full vectors."""
        return self._loaded.spec.hidden

    @property
    def context_length(self) -> int:
        """Most tokens of one text, prompt and special tokens included."""
        return self._loaded.plan.context_length

    @property
    def plan(self) -> Plan:
        return self._loaded.plan

    @property
    def space(self) -> VectorSpace:
        return VectorSpace(
            model=self.model,
            fingerprint=self._loaded.fingerprint,
            pooling=self._loaded.embedding.pooling,
            dimensions=self.dimensions,
            normalized=True,
        )

    def facts(self) -> dict[str, str]:
        """Where the model came from and how it is run, in words, for start-up output."""
        return {"origin": self.origin, "dimensions": str(self.dimensions), **summary(self.plan), **self._closeness()}

    def _closeness(self) -> dict[str, str]:
        manifest = self._loaded.description.manifest
        return {} if manifest is None else {"closeness": in_words(manifest.closeness)}

    def health(self) -> Health:
        return self._worker.health

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
        vectors = self._embed(request, show_progress).vectors
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
        vectors = (await self._embed_async(request)).vectors
        return vectors[0] if isinstance(texts, str) else vectors

    def embed(self, request: EmbedRequest) -> EmbedResult:
        """One request, of at most `max_texts_per_request` texts."""
        self._check_size(request)
        return self._embed(request, show_progress=False)

    async def embed_async(self, request: EmbedRequest) -> EmbedResult:
        """As `embed`, without blocking the event loop. Cancelling it takes its texts out of the queue."""
        self._check_size(request)
        return await self._embed_async(request)

    def _embed(self, request: EmbedRequest, show_progress: bool) -> EmbedResult:
        collector = Collector(request, self._loaded)
        in_flight: deque[Running] = deque()
        try:
            with tqdm(total=len(request.inputs), unit="text", disable=not show_progress) as bar:
                for item in self._slices(request):
                    in_flight.append(self._submit(item, self._prepare(item)))
                    if len(in_flight) >= SLICES_IN_FLIGHT:
                        bar.update(collector.add(in_flight[0], wait(in_flight.popleft())))
                while in_flight:
                    bar.update(collector.add(in_flight[0], wait(in_flight.popleft())))
        finally:
            cancel(in_flight)
        return collector.result()

    async def _embed_async(self, request: EmbedRequest) -> EmbedResult:
        collector = Collector(request, self._loaded)
        in_flight: deque[Running] = deque()
        loop = asyncio.get_running_loop()
        try:
            for item in self._slices(request):
                prepared = await loop.run_in_executor(self._pool, self._prepare, item)
                in_flight.append(self._submit(item, prepared))
                if len(in_flight) >= SLICES_IN_FLIGHT:
                    collector.add(in_flight[0], await wait_async(in_flight[0]))
                    in_flight.popleft()
            while in_flight:
                collector.add(in_flight[0], await wait_async(in_flight[0]))
                in_flight.popleft()
        finally:
            cancel(in_flight)
        return collector.result()

    def _slices(self, request: EmbedRequest) -> Iterator[Slice]:
        prefix = prompt_prefix(request, self._loaded.embedding)
        for start in range(0, len(request.inputs), SLICE_TEXTS):
            yield Slice(request.inputs[start : start + SLICE_TEXTS], start, prefix, request.truncate)

    def _prepare(self, item: Slice) -> Prepared:
        return self._preparer.prepare(item.inputs, item.start, item.prefix, item.truncate)

    def _submit(self, item: Slice, prepared: Prepared) -> Running:
        if not prepared.texts:
            return Running(item, prepared, None)
        job = Job(prepared.texts)
        self._scheduler.submit(job)
        return Running(item, prepared, job.future)

    def _check_size(self, request: EmbedRequest) -> None:
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
        self._pool.shutdown()
        self._worker.close()

    def __enter__(self) -> Embedder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_tokenizer(description: ModelDescription) -> TextTokenizer:
    """Raises `TokenizerError`, and `SettingsError` where the context has no room beside the special tokens."""
    tokenizer = TextTokenizer(description.path, vocab=description.spec.vocab, end_token=description.embedding.end_token)
    context_length, num_special = description.plan.context_length, tokenizer.special.count
    if context_length <= num_special:
        raise SettingsError(
            f"context_length is {context_length}; this model adds {num_special} special tokens to every text, so it "
            "must be more",
            param="context_length",
        )
    return tokenizer
