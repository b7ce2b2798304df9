"""How long `farthing cluster` takes and how much memory, without the time of embedding.

    python benchmarks/cluster_scale.py [--texts 100000] [--dimensions 1024] [--topics 2000] [--keep DIR]

The command runs in a process of its own, from the start of Python to its files, on texts and vectors that are made
here: topics in 40 themes, of sizes as unequal as a power law makes them, each vector its topic's and noise, with less
of both in later dimensions; a text is twelve words of its topic's. Peak memory is the process' largest resident set,
pages of the mapped vectors included. The v-measure against the topics shows that it was not fast by doing nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import v_measure_score

from report import facts, table

THEMES, WORDS_A_TOPIC, WORDS_A_TEXT = 40, 30, 12
SYLLABLES = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]


def make_set(folder: Path, num_texts: int, dimensions: int, num_topics: int) -> np.ndarray:
    """Write texts.jsonl and vectors.npy; return each text's topic."""
    random = np.random.default_rng(0)
    spread = (1 / np.sqrt(np.arange(1, dimensions + 1))).astype(np.float32)

    def gaussian(rows: int) -> np.ndarray:
        return random.standard_normal((rows, dimensions), dtype=np.float32) * spread

    centres = gaussian(THEMES)[random.integers(0, THEMES, num_topics)] + 0.8 * gaussian(num_topics)
    weights = random.pareto(1.5, num_topics) + 0.1
    topics = random.choice(num_topics, num_texts, p=weights / weights.sum())
    vectors = np.empty((num_texts, dimensions), dtype=np.float32)
    for part in np.array_split(np.arange(num_texts), max(1, num_texts // 10_000)):
        vectors[part] = centres[topics[part]] + 0.6 * gaussian(len(part))
    np.save(folder / "vectors.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    vocabulary = np.array(["".join(random.choice(SYLLABLES, 3)) for _ in range(20_000)])
    of_topic = random.integers(0, len(vocabulary), (num_topics, WORDS_A_TOPIC))
    chosen = random.integers(0, WORDS_A_TOPIC, (num_texts, WORDS_A_TEXT))
    with (folder / "texts.jsonl").open("w", encoding="utf-8") as file:
        for words in vocabulary[of_topic[topics[:, None], chosen]]:
            file.write(json.dumps({"text": " ".join(words)}) + "\n")
    return topics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=1024)
    parser.add_argument("--topics", type=int, default=2000)
    parser.add_argument("--keep", type=Path, help="folder for the files [default: one that is removed]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        topics = make_set(folder, options.texts, options.dimensions, options.topics)
        command = [sys.executable, "-m", "farthing", "cluster", "texts.jsonl", "--vectors", "vectors.npy"]
        started = time.perf_counter()
        subprocess.run([*command, "-o", "result", "--overwrite"], cwd=folder, check=True)
        seconds = time.perf_counter() - started
        peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        records = (folder / "result" / "records.jsonl").read_text(encoding="utf-8").splitlines()
        found = [json.loads(record)["cluster"] for record in records]
        page_bytes = (folder / "result" / "map.html").stat().st_size
    row = {
        "texts": options.texts,
        "dimensions": options.dimensions,
        "seconds": round(seconds, 1),
        "peak_mib": round(peak_bytes / 2**20),
        "clusters": max(found) + 1,
        "noise": round(found.count(-1) / len(found), 3),
        "v_measure": round(float(v_measure_score(topics, found)), 3),
        "page_mib": round(page_bytes / 2**20, 1),
    }
    print(table(list(row), [[str(value) for value in row.values()]]))
    about = facts(["farthing", "numpy", "scikit-learn", "fast-hdbscan", "umap-learn"])
    print(json.dumps({**about, "benchmark": "cluster_scale", **row}))


if __name__ == "__main__":
    main()
