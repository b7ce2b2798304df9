"""How fast this version's engine computes beside another version's.

python benchmarks/version_speed.py MODEL --against SRC [--format int8] [--cases 8x128,1x128] [--pairs 15]

Each version has a process of its own with the model loaded, and both encode the same new texts in turn; the version
that goes first changes from pair to pair. A case 8x128 is 8 texts of about 128 tokens (of words that no earlier text
had, so that nothing is shared). SRC is the other version's PYTHONPATH: its folder `src`, and what else it needs. The
ratio of a pair is the other version's seconds by this one's; the table has the median and the quartiles of all pairs.
One table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

from report import facts, table

CHILD = """
import json, sys, time
from farthing import Embedder
embedder = Embedder(sys.argv[1], format=sys.argv[2])
print(embedder.count_tokens(sys.argv[3]), flush=True)
for line in sys.stdin:
    texts = json.loads(line)
    started = time.perf_counter()
    embedder.encode(texts)
    print(time.perf_counter() - started, flush=True)
"""
SAMPLE_WORDS = 200


class Version:
    """A process with one version's model.

    Attributes:
        word_tokens: the tokens of a word such as `new_words` makes.
    """

    def __init__(self, source: str, model: str, weight_format: str, child: str = CHILD, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": source}
        self._process = subprocess.Popen(
            [sys.executable, "-c", child, model, weight_format, new_words(SAMPLE_WORDS), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.word_tokens = int(self._answer()) / SAMPLE_WORDS

    def seconds(self, texts: list[str]) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(texts) + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def new_words(count: int) -> str:
    return " ".join(f"w{random.randrange(10**6)}" for _ in range(count))


def new_texts(case: str, word_tokens: float) -> list[str]:
    count, tokens = map(int, case.split("x"))
    return [new_words(max(1, round(tokens / word_tokens))) for _ in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--against", metavar="SRC", required=True)
    parser.add_argument("--format", default="int8")
    parser.add_argument("--cases", default="8x128,1x128")
    parser.add_argument("--pairs", type=int, default=15)
    options = parser.parse_args()
    own = str(Path(__file__).parents[1] / "src")
    this, other = (Version(source, options.model, options.format) for source in (own, options.against))
    rows, row = [], {}
    for case in options.cases.split(","):
        ratios, seconds = [], []
        for number in range(options.pairs + 2):
            texts, order = new_texts(case, this.word_tokens), (this, other) if number % 2 else (other, this)
            found = {version: version.seconds(texts) for version in order}
            if number >= 2:
                ratios.append(found[other] / found[this])
                seconds.append(found[this])
        median, (low, _, high) = statistics.median(ratios), statistics.quantiles(ratios)
        rows.append([case, f"{1000 * statistics.median(seconds):.1f}", f"{median:.3f}", f"{low:.3f} to {high:.3f}"])
        row[case] = {"median": round(median, 3), "quartiles": [round(low, 3), round(high, 3)]}
    this.close()
    other.close()
    print(table([f"{options.format}, this version by the other", "ms", "median", "quartiles"], rows))
    print(json.dumps({"model": options.model, "pairs": options.pairs, **facts(["numpy"]), **row}))


if __name__ == "__main__":
    main()
