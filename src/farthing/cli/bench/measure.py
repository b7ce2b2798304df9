"""Runs workloads through the engine and takes the time.

In: a model's folder and settings, then texts as token ids. Out: seconds of every run. Workloads take turns round by
round, so that a machine whose speed drifts slows them all alike; the native kernels' peak is measured once a round for
the same reason. Each round has its own texts, because the engine holds prefixes of earlier texts and would not compute
them again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import field

from farthing.cli.bench.checks import Meter, require_all_computed
from farthing.core.deferred import dataclass
from farthing.core.errors import ClosedError
from farthing.core.settings import ServingSettings
from farthing.engine.describe import ModelDescription
from farthing.engine.runner import Runner
from farthing.engine.weights.load import LoadedModel, load_weights
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.team import native_kernels
from farthing.serving.queue.batch import Job
from farthing.serving.queue.estimates import Size
from farthing.serving.queue.scheduler import BatchLimits, Scheduler
from farthing.serving.queue.token_counter import TokenCounter
from farthing.serving.request import Urgency

WARM_UP_ROUND = -1
WARM_UP_TOKENS = 512  # most tokens of a text in the warm-up; of longer texts the first tokens are used

Texts = Sequence[list[int]]


@dataclass(frozen=True)
class MeasuredEngine:
    """A model that is ready.

    Attributes:
        kernels: the native kernels, if the model's matrix products run on them.
        load_s: seconds from the start of loading until the model was ready.
        first_vector_s: seconds from the start of loading until it had embedded a short text.
    """

    model: LoadedModel
    runner: Runner
    kernels: NativeKernels | None
    load_s: float
    first_vector_s: float


@dataclass
class Task:
    """A workload and its runs so far.

    Attributes:
        name: for messages.
        batches_of: gives a round's texts as the scheduler hands them out; each round has other texts of equal lengths.
        rounds: number of timed runs to do.
        shares: texts of a round begin alike, so that not all of their tokens are computed.
        lengths: tokens of each text of a round.
        seconds: duration of each timed run.
        cycles: cycles of the native kernels by stage, over all timed runs.
        num_computed_tokens: tokens computed in all timed runs.
    """

    name: str
    batches_of: Callable[[int], Sequence[Texts]]
    rounds: int
    shares: bool = False
    lengths: Sequence[int] = ()
    seconds: list[float] = field(default_factory=list)
    cycles: Counter[str] = field(default_factory=Counter)
    num_computed_tokens: int = 0


@dataclass(frozen=True)
class Beside:
    """What was measured beside the runs.

    Attributes:
        peaks: the kernels' peak in operations/s, once for each round.
        cores_elsewhere: cores that other processes kept busy meanwhile, on average; None where it is not known.
    """

    peaks: Sequence[float]
    cores_elsewhere: float | None


def load_engine(describe: Callable[[], ModelDescription], short: list[int]) -> MeasuredEngine:
    """Load the model, and embed the text `short` to take the time. Raises the errors of describing and loading."""
    started = time.perf_counter()
    model = load_weights(describe())
    runner = Runner(model)
    load_s = time.perf_counter() - started
    embed(runner, [short])
    first_vector_s = time.perf_counter() - started
    plan = model.plan
    # Where matrices are unpacked for each batch, products are only a part of the time.
    multiplies = plan.is_native and not plan.format.unpacks_natively
    kernels = native_kernels(plan.num_threads) if multiplies else None
    return MeasuredEngine(model, runner, kernels, load_s, first_vector_s)


def make_batches(texts: Texts, max_tokens: int, new_counter: Callable[[], TokenCounter]) -> list[Texts]:
    """Return the batches that the scheduler makes of the texts when they come in one request and nothing else waits."""
    scheduler = Scheduler(BatchLimits(max_tokens, ServingSettings().max_batch_size), new_counter)
    with scheduler.open(Urgency(), Size(len(texts), 0)) as flow:
        scheduler.submit(Job(texts), flow, len(texts))
        scheduler.refuse(ClosedError("no further texts"), drop_open=False)
        return [batch.texts for batch in iter(scheduler.take, None)]


def run_rounds(engine: MeasuredEngine, tasks: Sequence[Task], on_run: Callable[[Task], object]) -> Beside:
    """Warm up each task, then do its runs and fill in what they measure.

    Raises:
        NonFiniteError: a text has no vector, so that its time would mean nothing.
        MeasurementError: not all tokens of texts that share nothing were computed.
    """
    for task in tasks:
        batches = task.batches_of(WARM_UP_ROUND)
        task.lengths = [len(text) for batch in batches for text in batch]
        embed(engine.runner, [text[:WARM_UP_TOKENS] for text in batches[0]])
    peaks, meter = [], Meter.now()
    for number in range(max(task.rounds for task in tasks)):
        if engine.kernels is not None:
            peaks.append(engine.kernels.peak_ops(engine.model.plan.format.form))
        for task in tasks:
            if number < task.rounds:
                run_task(engine, task, number)
                on_run(task)
    return Beside(peaks, meter.cores_elsewhere())


def run_task(engine: MeasuredEngine, task: Task, number: int) -> None:
    batches, num_computed = task.batches_of(number), 0
    if engine.kernels is not None:
        engine.kernels.profile()  # resets the counters: cycles counted before are not this task's
    started = time.perf_counter()
    for batch in batches:
        num_computed += embed(engine.runner, batch)
    task.seconds.append(time.perf_counter() - started)
    if engine.kernels is not None:
        task.cycles.update(engine.kernels.profile())
    if not task.shares:
        require_all_computed(num_computed, sum(task.lengths), task.name)
    task.num_computed_tokens += num_computed


def embed(runner: Runner, texts: Texts) -> int:
    """Embed the texts, and return how many tokens were computed."""
    output = runner.run(texts)
    for error in output.errors.values():
        raise error
    return sum(output.computed)
