"""What the planner says a process will hold against what it held: models x formats x residency.

python benchmarks/memory_matrix.py FOLDER [FOLDER ...] [--formats fp32,bf16,int8] [--residencies resident,disk]
    [--context 4096] [--batch 4096] [--limit-mb N]

Each row is a process of its own that loads the model as `farthing serve` does and embeds a batch of many short texts,
one of a few longer ones, and one text as long as the context allows, after as many shared beginnings as are kept from
one batch to the next; where the token table stays in memory, every row
of it is gathered once. Peaks are VmHWM: the whole process, mapped files included. With --limit-mb a process that grows
over it is killed, and the row says so. A folder of quantised weights has one format. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from farthing.core.sizes import mebibytes
from report import facts, table

CHILD = "--child"
WATCH_S = 0.005
SHARED_TOKENS = 64  # of each beginning that texts share


def child(arguments: dict[str, Any]) -> None:
    """One row, in a process of its own: prints what was planned and what happened."""
    import farthing.server.run  # noqa: F401 - what a server has loaded is part of the whole process
    from farthing.core.settings import EngineSettings
    from farthing.engine.describe import describe_model
    from farthing.engine.native_model import NativeModel
    from farthing.engine.plan.ledger import PLANNED_TEXTS
    from farthing.engine.plan.prefix_memory import held_token_bytes
    from farthing.engine.runner import Runner
    from farthing.engine.weights.load import load_weights
    from farthing.serving.text.tokenizer import open_tokenizer

    description = describe_model(Path(arguments["model"]), EngineSettings(**arguments["settings"]))
    tokenizer = open_tokenizer(description)
    tokenizer.encode(["A text."])
    model, plan = load_weights(description), description.plan
    runner, random, vocab = Runner(model), np.random.default_rng(0), model.spec.vocab
    few = -(-plan.max_batch_tokens // min(512, plan.context_length))
    seconds = {}
    if model.description.shares_prefixes:
        longest = min(SHARED_TOKENS, plan.context_length - 1)
        started = time.perf_counter()
        count = plan.prefix_bytes // held_token_bytes(model.spec, plan) // longest
        for beginning in random.integers(0, vocab, (count, longest)):
            for _ in range(2):  # what came once is only noted
                runner.run([[*beginning.tolist(), end] for end in range(2)])
        seconds["shared"] = round(time.perf_counter() - started, 2)
    for name, count, length in (
        ("short", PLANNED_TEXTS, max(1, plan.max_batch_tokens // PLANNED_TEXTS)),
        ("longer", few, plan.max_batch_tokens // few),
        ("longest", 1, plan.context_length),
    ):
        started = time.perf_counter()
        assert not runner.run(random.integers(0, vocab, (count, length)).tolist()).errors
        seconds[name] = round(time.perf_counter() - started, 2)
    if plan.keeps_table:
        assert isinstance(model.computing, NativeModel)
        for first in range(0, vocab, 256):
            model.computing.table.rows(np.arange(first, min(first + 256, vocab)))
    print(json.dumps({
        "format": plan.format.name,
        "residency": plan.residency,
        "context": plan.context_length,
        "batch": plan.max_batch_tokens,
        "ledger": {entry.name: entry.num_bytes for entry in plan.ledger.entries},
        "predicted_bytes": plan.ledger.total("host"),
        "measured_bytes": status_bytes("self", "VmHWM"),
        "seconds": seconds,
    }))  # fmt: skip


def status_bytes(process: int | str, key: str) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), 0)


def run_row(model: str, settings: dict[str, Any], limit_bytes: int | None) -> dict[str, Any]:
    """The child's answer; {"error": ...} when it failed or was killed for its memory."""
    command = [sys.executable, __file__, CHILD, json.dumps({"model": model, "settings": settings})]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    while limit_bytes is not None and process.poll() is None:
        try:
            if status_bytes(process.pid, "VmRSS") > limit_bytes:
                process.kill()
                process.communicate()
                return {"error": f"killed above {mebibytes(limit_bytes)}"}
        except (FileNotFoundError, ProcessLookupError):
            break
        time.sleep(WATCH_S)
    output, errors = process.communicate()
    if process.returncode:
        return {"error": (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]}
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="+", metavar="FOLDER")
    parser.add_argument("--formats", default="fp32,bf16,int8")
    parser.add_argument("--residencies", default="resident,disk")
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--limit-mb", type=int)
    options = parser.parse_args()
    rows, cells = [], []
    for model in options.models:
        is_quantised = (Path(model) / "farthing.json").is_file()
        for name in ["auto"] if is_quantised else options.formats.split(","):
            for residency in options.residencies.split(","):
                settings = {
                    "format": name,
                    "residency": residency,
                    "context_length": options.context,
                    "max_batch_tokens": options.batch,
                    "device": "cpu",
                    "memory": "none",
                }
                limit = None if options.limit_mb is None else options.limit_mb * 10**6
                row = {"model": model, **settings, **run_row(model, settings, limit)}
                rows.append(row)
                cells.append(row_cells(row))
                print(" | ".join(cells[-1]), file=sys.stderr)
    print(table(["model", "format", "residency", "context", "predicted", "measured", "ratio", "seconds"], cells))
    print(json.dumps({**facts(["numpy"]), "rows": rows}))


def row_cells(row: dict[str, Any]) -> list[str]:
    start = [Path(row["model"]).name, row["format"], row["residency"], str(row["context_length"])]
    if "error" in row:
        return [*start, row["error"], "", "", ""]
    predicted, measured = row["predicted_bytes"], row["measured_bytes"]
    seconds = " ".join(f"{name} {value}" for name, value in row["seconds"].items())
    return [*start, mebibytes(predicted), mebibytes(measured), f"{predicted / measured:.2f}", seconds]


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        child(json.loads(sys.argv[2]))
    else:
        main()
