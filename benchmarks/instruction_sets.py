"""How fast a model's batch is with each instruction set of this CPU, beside another version's.

python benchmarks/instruction_sets.py MODEL [--against SRC] [--format int8] [--case 8x128] [--rounds 9] [--sets avx2,portable]

Each instruction set of each version has a process of its own, which holds the model with that set's kernels. All of them
encode the same new texts (of words that no earlier text had) in every round; who goes first changes from round to round. A
case 8x128 is 8 texts of about 128 tokens. SRC is the other version's PYTHONPATH: its folder `src`, with its own library. The
ratio of a round is this version's tokens a second by the other's. One table and one JSON line.
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
import functools, json, sys, time
from farthing import Embedder
from farthing.quant.native import team
model, weight_format, sample, name = sys.argv[1:]
try:
    team.NativeKernels(team.LIBRARY, 1, name).close()
except RuntimeError:
    print(0)
    sys.exit()
team.NativeKernels = functools.partial(team.NativeKernels, isa=name)
embedder = Embedder(model, format=weight_format)
assert team.native_kernels().isa == name
print(embedder.count_tokens(sample), flush=True)
for line in sys.stdin:
    texts = json.loads(line)
    started = time.perf_counter()
    embedder.encode(texts)
    print(time.perf_counter() - started, flush=True)
"""
WARMING_ROUNDS = 2


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
    processes = {
        (name, version): Version(source, options.model, options.format, CHILD, name)
        for name in options.sets.split(",")
        for version, source in sources.items()
    }
    present = {key: process for key, process in processes.items() if process.word_tokens}
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in present}
    order = list(present)
    for number in range(options.rounds + WARMING_ROUNDS):
        texts = new_texts(options.case, present[order[0]].word_tokens)
        for key in order:
            taken = present[key].seconds(texts)
            if number >= WARMING_ROUNDS:
                seconds[key].append(taken)
        order = order[1:] + order[:1]
    for process in processes.values():
        process.close()
    count, length = map(int, options.case.split("x"))
    rows, row = [], {}
    for name in options.sets.split(","):
        speeds = {
            version: count * length / statistics.median(seconds[name, version])
            for version in sources
            if (name, version) in seconds
        }
        found: dict[str, float | list[float]] = {version: round(speed) for version, speed in speeds.items()}
        cells = [f"{speeds[version]:,.0f}" if version in speeds else "" for version in sources]
        if len(speeds) == 2:
            ratios = [theirs / ours for ours, theirs in zip(seconds[name, "this"], seconds[name, "other"], strict=True)]
            low, median, high = statistics.quantiles(ratios)
            found |= {"ratio": round(median, 3), "quartiles": [round(low, 3), round(high, 3)]}
            cells += [f"{median:.2f}", f"{low:.2f} to {high:.2f}"]
        if speeds:
            rows.append([name, *cells, *[""] * (2 * len(sources) - 1 - len(cells))])
            row[name] = found
    columns = ["this, tokens/s", "other, tokens/s", "ratio", "quartiles"]
    print(table([f"{options.format}, {options.case}", *columns[: 2 * len(sources) if options.against else 1]], rows))
    print(json.dumps({"model": options.model, "case": options.case, "rounds": options.rounds, **facts(["torch"]), **row}))


if __name__ == "__main__":
    main()
