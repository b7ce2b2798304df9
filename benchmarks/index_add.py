"""Adding a folder to an index: does it go on when it is killed, and how far is it from the bare model?

python benchmarks/index_add.py [FOLDER] [MODEL] [--kills 10] [--rounds 1] [-- FLAGS...]

FOLDER (default: /usr/share/doc) is added to an index without interruption, and to another one with the process killed
(SIGKILL) at random times, --kills times, until it ends. Both must hold the same passages, with the same vectors up to
rounding. `farthing embed` makes vectors of the same passages, in turn with adding them all to a new index, as often as
--rounds says. FLAGS go to each command, as --format int8. One table and one JSON line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from farthing.toolkit.index.adding import embedded_text
from farthing.toolkit.index.index import VectorIndex
from farthing.toolkit.stores.lance.database import LanceDatabase
from report import facts, table

FARTHING = [sys.executable, "-m", "farthing"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="/usr/share/doc")
    parser.add_argument("model", nargs="?", default="starter")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    own, flags = split_flags(sys.argv[1:])
    given = parser.parse_args(own)
    with tempfile.TemporaryDirectory() as work:
        place = Path(work)
        add_s = [timed_add(place / "whole", given.model, given.folder, flags)]
        num_passages = export(place / "whole", place / "passages.jsonl")
        embed_s = [timed_embed(place, given.model, flags)]
        for _ in range(given.rounds - 1):
            add_s.append(timed_add(place / "again", given.model, given.folder, flags, is_removed=True))
            embed_s.append(timed_embed(place, given.model, flags))
        killed = add_with_kills(place / "killed", given.model, given.folder, flags, given.kills, add_s[0])
        differences = compared(place / "whole", place / "killed")
    ratios = [embed / add for embed, add in zip(embed_s, add_s, strict=True)]
    rows = [
        ["passages", f"{num_passages:,}"],
        ["passages a second, index add", f"{num_passages / statistics.median(add_s):,.0f}"],
        ["passages a second, embed", f"{num_passages / statistics.median(embed_s):,.0f}"],
        ["index add to embed, median of pairs", f"{statistics.median(ratios):.2f}"],
        ["killed", f"{killed['kills']} times"],
        ["seconds, uninterrupted and with kills", f"{add_s[0]:,.0f}, {killed['seconds']:,.0f}"],
        ["passages in one index alone", f"{differences['alone']}"],
        ["passages that differ", f"{differences['differ']}"],
        ["least cosine of the vectors", f"{differences['cosine']:.6f}"],
    ]
    print(f"{given.folder}, {given.model} {' '.join(flags)}")
    print(table(["", "value"], rows))
    measured = {"passages": num_passages, "add_s": add_s, "embed_s": embed_s, "killed": killed, **differences}
    print(json.dumps(facts(["lancedb", "tokenizers"]) | {"model": given.model, "flags": flags} | measured))


def split_flags(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def run(*command: str) -> str:
    return subprocess.run([*FARTHING, *command], check=True, stdout=subprocess.PIPE, text=True).stdout


def timed_add(index: Path, model: str, folder: str, flags: list[str], *, is_removed: bool = False) -> float:
    run("index", "create", str(index), "--model", model, *flags)
    started = time.monotonic()
    print(run("index", "add", str(index), folder, *flags).strip(), file=sys.stderr)
    seconds = time.monotonic() - started
    if is_removed:
        run("index", "delete", str(index), "--all", "--yes")
    return seconds


def timed_embed(place: Path, model: str, flags: list[str]) -> float:
    vectors = place / "vectors.npy"
    started = time.monotonic()
    run("embed", model, str(place / "passages.jsonl"), "-o", str(vectors), "--input-type", "document", *flags)
    seconds = time.monotonic() - started
    vectors.unlink()
    return seconds


def export(index: Path, path: Path) -> int:
    """The texts that were embedded, in the order of the index."""
    store = VectorIndex.open(LanceDatabase(str(index))).store
    num = 0
    with path.open("w", encoding="utf-8") as file:
        for passage in itertools.chain.from_iterable(store.passages()):
            file.write(json.dumps({"text": embedded_text(passage)}) + "\n")
            num += 1
    return num


def add_with_kills(
    index: Path, model: str, folder: str, flags: list[str], kills: int, expected_s: float
) -> dict[str, Any]:
    """Each run is killed after a random time, so that all of them together take about as long as one does."""
    run("index", "create", str(index), "--model", model, *flags)
    chance, started, num_killed, counts = random.Random(time.time_ns()), time.monotonic(), 0, []
    while True:
        process = subprocess.Popen(
            [*FARTHING, "index", "add", str(index), folder, *flags], stdout=subprocess.PIPE, text=True
        )
        try:
            wait_s = chance.uniform(0.3, 1.7) * expected_s / (kills + 1) if num_killed < kills else None
            said, _ = process.communicate(timeout=wait_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            num_killed += 1
            counts.append(json.loads(run("index", "info", str(index), "--json"))["num_passages"])
            print(f"killed after {wait_s:,.0f} s: {counts[-1]:,} passages are held", file=sys.stderr)
            continue
        assert process.returncode == 0
        embedded = re.search(r"([\d,]+) passages? embedded", said)
        last = int(embedded[1].replace(",", "")) if embedded else 0
        return {"kills": num_killed, "seconds": time.monotonic() - started, "held": counts, "last_run": last}


def compared(one: Path, other: Path) -> dict[str, Any]:
    rows = [
        VectorIndex.open(LanceDatabase(str(index))).store._table.to_arrow().sort_by("id")  # type: ignore[attr-defined]
        for index in (one, other)
    ]
    ids = [set(row["id"].to_pylist()) for row in rows]
    if ids[0] != ids[1]:
        return {"alone": len(ids[0] ^ ids[1]), "differ": -1, "cosine": float("nan")}
    columns = [name for name in rows[0].column_names if name != "vector"]
    differ = sum(
        a != b for a, b in zip(rows[0].select(columns).to_pylist(), rows[1].select(columns).to_pylist(), strict=True)
    )
    vectors = [
        row["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(row), -1) for row in rows
    ]
    cosines = np.einsum("ij,ij->i", vectors[0].astype(np.float64), vectors[1].astype(np.float64))
    return {"alone": 0, "differ": differ, "cosine": float(cosines.min())}


if __name__ == "__main__":
    main()
