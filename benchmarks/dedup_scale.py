"""How long a large set takes to be searched for near duplicates, in how much memory, and what the partitions miss.

    python benchmarks/dedup_scale.py --vectors V.npy [--rows 1000000] [--sample 50000] [--folder DIR]

V.npy holds vectors of real texts, as `farthing embed TEXTS -o V.npy` makes them. Two things are measured with them:

Recall, on --sample of these rows as they are: of all pairs within the threshold, how many a search would compare; and
of what comparing all with all drops, how much is dropped with partitions.

Time and memory, on --rows rows made of them: each lies on the arc from one real vector to another, both drawn at
random, at a distance drawn evenly from 0 to 1.1. They are searched in a process of its own, from a mapped file in DIR,
which is removed afterwards. Of its memory, pages of that file are apart: the system takes them back when it needs them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from farthing.toolkit.dedup.near import NUM_PROBED, Partitions, choose_pivots, near_duplicates
from report import facts, json_line, table

THRESHOLD = 0.35
LARGEST_DISTANCE = 1.1
ROWS_AT_A_TIME = 65536
PAIR_ROWS = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--sample", type=int, default=50_000)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    real = np.load(args.vectors).astype(np.float32)
    real /= np.linalg.norm(real, axis=1, keepdims=True)
    recall, recall_seconds = measure_recall(real, args.sample)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "rows.npy"
        write_rows(real, args.rows, path)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            scale = pool.apply(measure_scale, (path,))
    print(table(("rows", "dropped", "seconds", "own memory", "with file pages"), [scale_row(scale)]), "\n")
    print(
        table(
            ("of", "found"),
            [(name, f"{value:,}" if isinstance(value, int) else f"{value:.4%}") for name, value in recall.items()],
        )
    )
    seconds = {"scale": [float(scale["seconds"])], **{name: [value] for name, value in recall_seconds.items()}}
    more = {
        "benchmark": "dedup_scale",
        "real_rows": len(real),
        "threshold": THRESHOLD,
        "scale": scale,
        "recall": recall,
    }
    print(json_line(facts(["numpy", "farthing"]), seconds, **more))


def measure_recall(real: np.ndarray, num_rows: int) -> tuple[dict[str, float], dict[str, float]]:
    vectors = real[np.random.default_rng(0).permutation(len(real))[:num_rows]]
    order = np.arange(len(vectors))
    partitions = Partitions(vectors, choose_pivots(vectors, order, THRESHOLD), NUM_PROBED)
    homes = (vectors @ partitions.pivots.T).argmax(axis=1)
    num_pairs = num_compared = 0
    for start in range(0, len(vectors), PAIR_ROWS):
        rows = vectors[start : start + PAIR_ROWS]
        later, earlier = np.nonzero(np.tril(rows @ vectors.T >= 1 - THRESHOLD**2 / 2, k=start - 1))
        probed = partitions.probed(rows)
        num_pairs += len(later)
        num_compared += int((probed[later] == homes[earlier, None]).any(axis=1).sum())
    seconds, dropped = {}, {}
    for name, exhaustive in (("all with all", True), ("partitions", False)):
        started = time.perf_counter()
        dropped[name] = near_duplicates(vectors, order, THRESHOLD, exhaustive=exhaustive).dropped
        seconds[name] = time.perf_counter() - started
    every, some = dropped.values()
    recall = {
        "rows": len(vectors),
        "partitions": len(partitions.pivots),
        "pairs within the threshold": num_pairs,
        "pairs that are compared": num_compared / num_pairs,
        "dropped by comparing all with all": int(every.sum()),
        "of these dropped with partitions": float((every & some).sum() / every.sum()),
    }
    return recall, seconds


def write_rows(real: np.ndarray, num_rows: int, path: Path) -> None:
    rng = np.random.default_rng(1)
    file = np.lib.format.open_memmap(path, "w+", np.float32, (num_rows, real.shape[1]))
    for start in range(0, num_rows, ROWS_AT_A_TIME):
        count = min(ROWS_AT_A_TIME, num_rows - start)
        begin, end = (real[rng.integers(len(real), size=count)] for _ in range(2))
        distances = rng.uniform(0, LARGEST_DISTANCE, (count, 1)).astype(np.float32)
        sideways = end - begin * np.einsum("ij,ij->i", begin, end)[:, None]
        sideways /= np.maximum(np.linalg.norm(sideways, axis=1, keepdims=True), 1e-6)
        cosines = 1 - distances**2 / 2
        rows = begin * cosines + sideways * np.sqrt(1 - cosines**2)
        file[start : start + count] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    file.flush()


def measure_scale(path: Path) -> dict[str, float]:
    vectors = np.load(path, mmap_mode="r")
    started = time.perf_counter()
    found = near_duplicates(vectors, np.arange(len(vectors)), THRESHOLD, show_progress=True)
    seconds = time.perf_counter() - started
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    sizes = {
        name: int(status[key].split()[0]) * 1024 for name, key in (("peak_bytes", "VmHWM"), ("file_bytes", "RssFile"))
    }
    shape = {"rows": len(vectors), "dimensions": vectors.shape[1], "dropped": int(found.dropped.sum())}
    return {**shape, "seconds": seconds, **sizes, "cores": os.cpu_count() or 0}


def scale_row(scale: dict[str, float]) -> tuple[str, ...]:
    mib = 2**20
    return (
        f"{scale['rows']:,} x {scale['dimensions']}",
        f"{scale['dropped']:,}",
        f"{scale['seconds']:.0f}",
        f"{(scale['peak_bytes'] - scale['file_bytes']) / mib:,.0f} MiB",
        f"{scale['peak_bytes'] / mib:,.0f} MiB",
    )


if __name__ == "__main__":
    main()
