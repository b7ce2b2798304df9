"""How fast a model's batch is with each instruction set of this CPU, beside another version's.

python benchmarks/instruction_sets.py MODEL [--against SRC] [--format int8] [--case 8x128] [--sets avx2,portable]

Each instruction set of each version has a process of its own, which holds the model with that set's kernels. All of
them encode the same new texts (of words that no earlier text had) in every round; who goes first changes from round to
round. A case 8x128 is 8 texts of about 128 tokens. SRC is the other version's PYTHONPATH: its folder `src`, with its
own library. The ratio of a round is this version's tokens a second by the other's. One table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from report import facts, table
from version_speed import Version, new_texts

SETS = "amx,avx512bf16,avx512vnni,avxvnni,avx2,portable"
CHILD = """
import json, sys, time
from farthing import Embedder
from farthing.quant.native import team
model, weight_format, sample, name = sys.argv[1:]
try:
    team.NativeKernels(team.LIBRARY, 1, name).close()
except RuntimeError:
    print(0)
    sys.exit()
kernels, made = team.NativeKernels, []
team.NativeKernels = lambda *given: made.append(kernels(*given, isa=name)) or made[-1]
embedder = Embedder(model, format=weight_format)
assert {one.isa for one in made} == {name}
print(embedder.count_tokens(sample), flush=True)
for line in sys.stdin:
    texts = json.loads(line)
    started = time.perf_counter()
    embedder.encode(texts)
    print(time.perf_counter() - started, flush=True)
"""
WARMING_ROUNDS = 2
Key = tuple[str, str]  # instruction set, "this" or "other" version


def measure(processes: dict[Key, Version], case: str, rounds: int) -> dict[Key, list[float]]:
    """Seconds of each round, by instruction set and version."""
    seconds: dict[Key, list[float]] = {key: [] for key in processes}
    order = list(processes)
    for number in range(rounds + WARMING_ROUNDS):
        texts = new_texts(case, processes[order[0]].word_tokens)
        for key in order:
            taken = processes[key].seconds(texts)
            if number >= WARMING_ROUNDS:
                seconds[key].append(taken)
        order = order[1:] + order[:1]
    return seconds


def summary(this: list[float], other: list[float], num_tokens: int) -> dict[str, float]:
    """Of one instruction set; what a version does not have is left out."""
    found: dict[str, float] = {
        name: round(num_tokens / statistics.median(taken))
        for name, taken in (("this", this), ("other", other))
        if taken
    }
    if not (this and other):
        return found
    low, median, high = statistics.quantiles([theirs / ours for ours, theirs in zip(this, other, strict=True)])
    return {**found, "ratio": round(median, 3), "low": round(low, 3), "high": round(high, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--against", metavar="SRC")
    parser.add_argument("--format", default="int8")
    parser.add_argument("--case", default="8x128")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sets", default=SETS)
    options = parser.parse_args()
    sources = {"this": str(Path(__file__).parents[1] / "src")}
    if options.against:
        sources["other"] = options.against
    names = options.sets.split(",")
    processes = {
        (name, version): Version(source, options.model, options.format, CHILD, name)
        for name in names
        for version, source in sources.items()
    }
    seconds = measure({key: one for key, one in processes.items() if one.word_tokens}, options.case, options.rounds)
    for process in processes.values():
        process.close()
    count, length = map(int, options.case.split("x"))
    found = {
        name: summary(seconds.get((name, "this"), []), seconds.get((name, "other"), []), count * length)
        for name in names
    }
    columns = ["this", "other", "ratio", "low", "high"] if options.against else ["this"]
    rows = [[name, *(f"{row[key]:,}" if key in row else "" for key in columns)] for name, row in found.items() if row]
    print(table([f"{options.format}, {options.case}, tokens/s", *columns], rows))
    measured = {"model": options.model, "case": options.case, "rounds": options.rounds, **facts(["numpy"])}
    print(json.dumps({**measured, "sets": found}))


if __name__ == "__main__":
    main()
