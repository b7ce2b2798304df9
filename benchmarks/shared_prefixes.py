"""Texts that share their beginnings: computed once (on) against each in full (off), by one build in one process.

python benchmarks/shared_prefixes.py MODEL [--formats fp32,int8] [--workloads queries,rerank] [--rounds 5]
python benchmarks/shared_prefixes.py MODEL --formats int8 --workloads pairs --shared 2,4,8,16

Each round has fresh texts behind the same beginnings and runs them with and without sharing in turn; medians count.
`first` is a batch before which nothing was held. `finding` is the time that it takes to see what is shared, as a part
of the batch's. `pairs` are 64 pairs of texts, each of which share so many tokens as `--shared` says: from how many on
is it worth it?
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from farthing.cli.bench.checks import require_all_computed
from farthing.core.settings import EngineSettings
from farthing.engine.plan.prefix_memory import held_token_bytes
from farthing.engine.prefix_cache import PrefixCache
from farthing.engine.runner import Runner
from farthing.engine.weights.load import LoadedModel, load_model
from farthing.models.batch import forest
from report import facts, json_line, table

END, VOCAB = 151643, 150_000
Texts = list[list[int]]
random = np.random.default_rng(0)


def tokens(count: int) -> list[int]:
    found: list[int] = random.integers(0, VOCAB, size=count).tolist()
    return found


# As many as Qwen3-Reranker's template has with its default instruction: before the query, and behind the document.
INSTRUCTION, PROMPT, CLOSING = tokens(24), tokens(62), tokens(9)
TASK = tokens(16)  # by which an instruction of two lines is longer than the default one


def queries() -> Texts:
    """256 queries of 8 to 16 tokens under one instruction."""
    return [[*INSTRUCTION, *tokens(8 + place % 9), END] for place in range(256)]


def documents(count: int, least: int, most: int, query_tokens: int = 12, task: Sequence[int] = ()) -> Texts:
    """Of one query: prompt and instruction, the query, the document, and what closes the prompt."""
    query = [*task, *tokens(query_tokens)]
    lengths = np.linspace(least, most, count).round().astype(int)
    return [[*PROMPT, *query, *tokens(length), *CLOSING] for length in random.permutation(lengths)]


WORKLOADS: dict[str, Callable[[], Texts]] = {
    "queries": queries,
    "rerank": lambda: documents(50, 80, 120),
    "rerank-short": lambda: documents(100, 30, 30),
    "rerank-own-task": lambda: documents(50, 80, 120, query_tokens=24, task=TASK),
    "rerank-short-own-task": lambda: documents(100, 30, 30, query_tokens=24, task=TASK),
    "8x128": lambda: [[*tokens(127), END] for _ in range(8)],
    "512x16": lambda: [[*tokens(15), END] for _ in range(512)],
}


SHARE_NOTHING = ("8x128", "512x16")


def pairs(num_shared: int) -> Texts:
    found = []
    for _ in range(64):
        beginning = tokens(num_shared)
        found += [[*beginning, *tokens(15), END] for _ in range(2)]
    return found


def timed(runner: Runner, texts: Texts) -> tuple[float, np.ndarray, int]:
    started = time.perf_counter()
    output = runner.run(texts)
    seconds = time.perf_counter() - started
    assert not output.errors
    rows = output.rows / np.linalg.norm(output.rows, axis=1, keepdims=True)
    return seconds, rows, sum(output.computed)


def finding_seconds(model: LoadedModel, batches: Sequence[Texts]) -> float:
    """Of one batch, with texts of others to compare them with."""
    cache = PrefixCache(model.plan.prefix_bytes, held_token_bytes(model.spec, model.plan))
    started = time.perf_counter()
    for texts in batches:
        cache.forest(texts)
    return (time.perf_counter() - started) / len(batches)


def measure(model: LoadedModel, make: Callable[[], Texts], rounds: int, *, begins_alike: bool) -> dict[str, Any]:
    alone = replace(model, description=replace(model.description, plan=replace(model.plan, shares_prefixes=False)))
    shares, plain = Runner(model), Runner(alone)
    first, *_ = timed(shares, make())
    for runner in (plain, shares):  # warm up; beginnings that come back are held now
        timed(runner, make())
    batches, cosines, computed = [make() for _ in range(rounds)], [], 0
    seconds: dict[str, list[float]] = {"on": [], "off": []}
    for texts in batches:
        off, want, computed_off = timed(plain, texts)
        require_all_computed(computed_off, sum(map(len, texts)), "without sharing")
        on, rows, computed = timed(shares, texts)
        if not begins_alike:
            require_all_computed(computed, sum(map(len, texts)), "texts that share nothing")
        seconds["on"].append(on)
        seconds["off"].append(off)
        cosines.append(float((rows * want).sum(1).min()))
    ratios = [off / on for on, off in zip(seconds["on"], seconds["off"], strict=True)]
    return {
        "seconds": seconds,
        "first_s": first,
        "tokens": sum(map(len, batches[-1])),
        "texts": len(batches[-1]),
        "computed": computed,
        "ratio": median(ratios),
        "ratio_first": median(seconds["off"]) / first,
        "least_cosine": min(cosines),
        "finding": finding_seconds(model, batches) / median(seconds["on"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("--formats", default="fp32,int8")
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--shared", default="2,4,8,16", help="for pairs: tokens that two texts share")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cells: list[list[str]] = []
    found: dict[str, dict[str, Any]] = {}
    for name in options.formats.split(","):
        model = load_model(options.model, EngineSettings(format=name, share_prefixes="on", memory="none"))
        for workload in options.workloads.split(","):
            made: dict[str, Callable[[], Texts]]
            if workload == "pairs":
                forest.MIN_SHARED_TOKENS = 1
                made = {f"pairs of {n}": partial(pairs, int(n)) for n in options.shared.split(",")}
            else:
                made = {workload: WORKLOADS[workload]}
            for title, make in made.items():
                result = measure(model, make, options.rounds, begins_alike=title not in SHARE_NOTHING)
                found[f"{name} {title}"] = result
                on = median(result["seconds"]["on"])
                cells.append([
                    name, title, f"{result['tokens']:,}", f"{result['computed']:,}", f"{result['texts'] / on:,.1f}",
                    f"{result['ratio']:.2f}", f"{result['ratio_first']:.2f}", f"{result['least_cosine']:.6f}",
                    f"{result['finding']:.2%}",
                ])  # fmt: skip
                print(" | ".join(cells[-1]), flush=True)
    header = ["format", "workload", "tokens", "computed", "texts/s", "on/off", "first", "least cosine", "finding"]
    print(table(header, cells))
    seconds = {f"{key} {way}": values for key, result in found.items() for way, values in result["seconds"].items()}
    more = {key: {name: value for name, value in result.items() if name != "seconds"} for key, result in found.items()}
    print(json_line(facts(["numpy"]), seconds, results=more))


if __name__ == "__main__":
    main()
