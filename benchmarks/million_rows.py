"""An index of a million passages: how long it takes to make, how fast and how exact it is searched, what it holds.

    python benchmarks/million_rows.py sentences --data DIR --folder DIR --model NAME
    python benchmarks/million_rows.py add       --folder DIR [--rows N]
    python benchmarks/million_rows.py search    --folder DIR [--rows N] [--queries N] [--forget index|all]

Each step is a process of its own and finds in the folder what the one before left. `sentences` takes the texts of the
retrieval sets under --data (the layout of BEIR) and embeds each sentence once; rows are put together of them
(million_parts/rows.py says how). `add` puts rows into a `LanceStore`, 1,000 documents at a time, and builds. `search`
opens it as a new process does, after dropping what the kernel keeps of its files, or of all files, those of Python and
LanceDB among them (--forget all, as after a start of the machine; for root). It asks one query after
the other, some of them before the files are in memory and, after as many others, all of them, and compares what is
found with the nearest rows of all, which are found by computing every cosine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from million_parts import sentences
from million_parts.rows import DIMENSIONS, Query, Rows
from million_parts.watch import GIB, PeakMemory, forget_files, memory_gib

DEPTH = 10
NUM_COLD = 50  # queries that are timed before the files are in memory
PACKAGES = ("lancedb", "numpy", "pyarrow")
Shown = dict[str, str]


def add(rows: Rows, folder: Path) -> tuple[Shown, dict[str, list[float]]]:
    from farthing.toolkit.stores.lance.store import LanceStore

    puts: list[float] = []
    with PeakMemory() as memory:
        store = LanceStore(folder, DIMENSIONS)
        for passages, words, vectors in tqdm(rows.blocks(), desc="rows", unit="k"):
            started = time.perf_counter()
            store.digests([passage.document for passage in passages])  # which an indexer asks for before it embeds
            store.put(passages, words, vectors)
            puts.append(time.perf_counter() - started)
            if len(puts) == 1:
                store.build()  # as `farthing index add` does after its first batch
        started = time.perf_counter()
        store.build()
        build_s = time.perf_counter() - started
    size_gib = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / GIB
    tenth = max(1, len(puts) // 10)
    shown = {
        "put, s": f"{sum(puts):.0f}",
        "put of the first tenth, ms each": f"{1000 * np.mean(puts[:tenth]):.0f}",
        "put of the last tenth, ms each": f"{1000 * np.mean(puts[-tenth:]):.0f}",
        "slowest put, ms": f"{1000 * max(puts):.0f}",
        "build, s": f"{build_s:.0f}",
        "most memory, own pages, GiB": f"{memory.gib:.2f}",
        "on disk, GiB": f"{size_gib:.2f}",
    }
    return shown, {"put": [sum(puts)], "build": [build_s]}


def search(rows: Rows, folder: Path, num_queries: int, forget: str) -> tuple[Shown, dict[str, list[float]]]:
    asked = rows.queries(2 * num_queries)
    earlier, queries = asked[:num_queries], asked[num_queries:]
    before = memory_gib()["own"]
    forget_files(folder, and_all_others=forget == "all")
    cold = ", no file in memory" if forget == "all" else ", index not in memory"
    started = time.perf_counter()
    import lancedb.query  # noqa: F401 - so that its import is not part of the first query

    from farthing.toolkit.index.hybrid import MIN_CANDIDATES, by_both, by_vector, by_words
    from farthing.toolkit.index.words import Asked
    from farthing.toolkit.stores.lance.store import LanceStore

    def asked_of(query: Query) -> Asked:
        return Asked(query.words, query.words)

    imported_s = time.perf_counter() - started
    store = LanceStore(folder, DIMENSIONS)
    by_both(store, earlier[0].vector, asked_of(earlier[0]), DEPTH)
    first_s = time.perf_counter() - started - imported_s
    kinds: dict[str, Callable[[Query], object]] = {
        "hybrid": lambda query: by_both(store, query.vector, asked_of(query), DEPTH),
        "vector": lambda query: by_vector(store, query.vector, DEPTH),
        "keyword": lambda query: by_words(store, query.words, DEPTH),
    }
    seconds = {f"hybrid{cold}": [timed(kinds["hybrid"], query) for query in earlier[1 : NUM_COLD + 1]]}
    read_all(folder)
    for query in earlier[NUM_COLD + 1 :]:
        kinds["hybrid"](query)  # LanceDB reads its indexes when they are first asked
    seconds |= {kind: [timed(ask, query) for query in queries] for kind, ask in kinds.items()}
    held = memory_gib()
    shown: Shown = {
        f"importing LanceDB{cold}, s": f"{imported_s:.2f}",
        f"opening and the first query{cold}, s": f"{first_s:.2f}",
    }
    for kind, each in seconds.items():
        middle, rare = np.quantile(each, [0.5, 0.99]) * 1000
        shown[f"{kind}, p50 / p99, ms"] = f"{middle:.1f} / {rare:.1f}"
    shown["memory: own pages (before opening), files, GiB"] = f"{held['own']} ({before}), {held['files']}"
    true = rows.nearest(np.stack([query.vector for query in queries]), 10 * DEPTH)
    for num in (DEPTH, 10 * DEPTH):
        found = [[one.passage.id for one in store.nearest(query.vector, num)] for query in queries]
        shown[f"recall@{num}, vector"] = f"{recall(found, true[:, :num]):.3f}"
    candidates = [store.candidates(query.vector, "", MIN_CANDIDATES) for query in queries]
    found = [[passage.id for passage in each.read(list(each.cosines)[:DEPTH])] for each in candidates]
    shown[f"recall@{DEPTH}, the nearest that hybrid looks at"] = f"{recall(found, true[:, :DEPTH]):.3f}"
    return shown, {"import": [imported_s], "first": [first_s], **seconds}


def read_all(folder: Path) -> None:
    """So that the kernel has the files in memory, as it has after some time where there is room for them."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(2**24):
                    pass


def timed(ask: Callable[[Query], object], query: Query) -> float:
    started = time.perf_counter()
    ask(query)
    return time.perf_counter() - started


def recall(found: list[list[str]], true: np.ndarray) -> float:
    """
    Args:
        found: ids of each query's passages.
        true: numbers of the rows that are nearest, int64 [queries, nearest].
    """
    ids = ([f"document-{number:07}#0" for number in numbers] for numbers in true.tolist())
    return float(np.mean([len({*each} & {*wanted}) / len(wanted) for each, wanted in zip(found, ids, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("sentences", "add", "search"))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--forget", choices=("index", "all"), default="index", help="files that the kernel drops first")
    asked = parser.parse_args()
    file, index = asked.folder / "sentences.npz", asked.folder / "index"
    if asked.step == "sentences":
        asked.folder.mkdir(parents=True, exist_ok=True)
        sentences.embed(asked.data, asked.model, file)
        return
    rows = Rows(sentences.load(file), asked.rows)
    shown, seconds = add(rows, index) if asked.step == "add" else search(rows, index, asked.queries, asked.forget)
    from report import facts, json_line, table  # what it imports is not of the index

    print(table(["", f"{asked.rows:,} x {DIMENSIONS}"], [[name, value] for name, value in shown.items()]))
    print(json_line(facts(PACKAGES), {name: each for name, each in seconds.items() if len(each) == 1}, figures=shown))


if __name__ == "__main__":
    main()
