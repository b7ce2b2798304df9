"""What tokenising costs the batches that run meanwhile, with the ways there are to hold it back.

    python benchmarks/tokenize_while_computing.py [--model starter] [--format int8] [--seconds 2] [--rounds 4]

The main thread computes batch after batch, each of token ids of its own; other threads tokenise without a pause, which
no server does for long. So what counts is the last column: how many tokens the batches lose for each thousand that are
tokenised. A way that slows tokenising and leaves this as it is only spreads the loss over more time. Ways take turns,
and the medians are of what each gives against the same round's run without tokenising.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from farthing.cli.bench.checks import require_all_computed
from farthing.core.settings import EngineSettings, SourceSettings
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model
from farthing.serving.text.tokenizer import TextTokenizer
from farthing.sources.find import find_model
from report import facts, json_line, table

DOCS = Path(__file__).parents[1] / "docs"
BATCH = (32, 128)  # texts, tokens of each
SLICE = (256, 250)  # texts, words of each


@dataclass(frozen=True)
class Way:
    """
    Attributes:
        num_threads: of ours that tokenise.
        rayon: the tokenizers library spreads each call over threads of its own, one a CPU.
        nice: of our threads; more is less of the CPU (on Linux, where it is a thread's).
    """

    num_threads: int
    rayon: bool = False
    nice: int = 0

    def __str__(self) -> str:
        kind = "with rayon" if self.rayon else "serial"
        return f"{self.num_threads} {kind}, nice {self.nice}" if self.num_threads else "none"


WAYS = (Way(0), Way(1), Way(1, nice=5), Way(1, nice=10), Way(1, nice=19), Way(2), Way(2, nice=10),
        Way(1, rayon=True), Way(2, rayon=True))  # fmt: skip


@contextmanager
def tokenizing(way: Way, tokenizer: TextTokenizer, texts: list[str]) -> Iterator[list[int]]:
    """Threads that tokenise `texts` over and over; gives the list that counts each one's tokens."""
    os.environ["TOKENIZERS_PARALLELISM"] = str(way.rayon).lower()  # the library reads it at every call
    counts, stopping = [0] * way.num_threads, threading.Event()

    def work(index: int) -> None:
        if way.nice:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), way.nice)
        while not stopping.is_set():
            counts[index] += sum(map(len, tokenizer.encode(texts)))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(way.num_threads)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def measure(
    runner: Runner, fresh: Callable[[], list[list[int]]], seconds: float, counts: list[int]
) -> tuple[float, float]:
    """Tokens a second: computed, and tokenised meanwhile."""
    started, before, num_computed = time.perf_counter(), sum(counts), 0
    while time.perf_counter() - started < seconds:
        batch = fresh()  # takes a thousandth of the batch's time
        computed = sum(runner.run(batch).computed)
        require_all_computed(computed, sum(map(len, batch)), "the batch")
        num_computed += computed
    took = time.perf_counter() - started
    return num_computed / took, (sum(counts) - before) / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--format", default="int8")
    parser.add_argument("--seconds", type=float, default=2, help="of each run")
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    loaded = load_model(find_model(arguments.model, SourceSettings()).path, EngineSettings(format=arguments.format))
    runner, rng = Runner(loaded), np.random.default_rng(1)
    tokenizer = TextTokenizer(loaded.description.path, vocab=loaded.spec.vocab, end_token=None)
    words = " ".join(path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))).split()
    texts = [" ".join(rng.choice(words, SLICE[1])) for _ in range(SLICE[0])]

    def fresh() -> list[list[int]]:
        batch: list[list[int]] = rng.integers(1000, loaded.spec.vocab, BATCH).tolist()
        return batch

    runner.run(fresh())
    rates: dict[Way, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(arguments.rounds):
        for way in WAYS:
            with tokenizing(way, tokenizer, texts) as counts:
                rates[way].append(measure(runner, fresh, arguments.seconds, counts))
    alone = [computed for computed, _ in rates[WAYS[0]]]
    lines = []
    for way, runs in rates.items():  # compared round by round, since the machine's speed drifts between them
        shares = [computed / before for (computed, _), before in zip(runs, alone, strict=True)]
        losses = [1000 * (before - computed) / max(1, tokenized)
                  for (computed, tokenized), before in zip(runs, alone, strict=True)]  # fmt: skip
        computed, tokenized = (median(column) for column in zip(*runs, strict=True))
        lines.append(
            [str(way), f"{computed:.0f}", f"{median(shares):.2f}", f"{tokenized / 1000:.0f}", f"{median(losses):.1f}"]
        )
    print(table(["threads that tokenise", "computed/s", "of alone", "1000 tokenised/s", "lost for each 1000"], lines))
    seconds_per_token = {str(way): [1 / computed for computed, _ in runs] for way, runs in rates.items()}
    about = facts(["numpy", "tokenizers", "farthing"])
    print(json_line(about, seconds_per_token, benchmark="tokenize_while_computing", model=arguments.model))


if __name__ == "__main__":
    main()
