"""Mixed requests, two of them long, in a process that may not hold more than it was told.

python benchmarks/hard_limit.py FOLDER --memory 1.6GB [--format bf16] [--residency disk] [--requests 50]
    [--long 16000] [--context N]

A process of its own opens the model with that budget and answers requests of 8 callers at once: texts of 1 to 200
tokens, and two of `--long`. Its limit is the kernel's where a control group can be made (the page cache counts then,
and the kernel kills what goes over); otherwise the process is killed when its resident memory is seen above. One table
and one JSON line. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from farthing.core.sizes import mebibytes, parse_bytes
from memory_matrix import status_bytes
from report import facts, table

CHILD = "--child"
CALLERS = 8
WATCH_S, LEAVE_S = 0.01, 5.0
# Version 1 has a folder for each controller, version 2 one for all.
GROUPS = (("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
          ("/sys/fs/cgroup", "memory.max", "memory.peak"))  # fmt: skip


def child(arguments: dict[str, Any]) -> None:
    """Prints how many requests were answered, and what the process held at its peak."""
    import farthing.server.run  # noqa: F401 - what a server has loaded is part of the whole process
    from farthing import Embedder
    from farthing.serving.request import EmbedRequest

    random = np.random.default_rng(0)
    lengths = [1 + number * 37 % 200 for number in range(arguments["requests"])]
    for place in (len(lengths) // 3, 2 * len(lengths) // 3):
        lengths[place] = arguments["long"]
    texts = [random.integers(0, 1000, length).tolist() for length in lengths]
    with Embedder(arguments["model"], **arguments["settings"]) as embedder:
        started = time.perf_counter()
        with ThreadPoolExecutor(CALLERS) as pool:
            results = list(pool.map(lambda text: embedder.embed(EmbedRequest([text])), texts))
        seconds, plan = time.perf_counter() - started, embedder.plan
    print(json.dumps({
        "answers": sum(bool(np.isfinite(result.vectors).all()) for result in results),
        "format": plan.format.name,
        "residency": plan.residency,
        "planned_bytes": plan.ledger.total("host"),
        "peak_rss_bytes": status_bytes("self", "VmHWM"),
        "seconds": round(seconds, 1),
        "tokens": sum(lengths),
    }))  # fmt: skip


@contextmanager
def control_group(limit_bytes: int) -> Iterator[tuple[Path, str] | None]:
    """A group with that limit and the name of the file with its peak; None where none can be made."""
    for root, limit, peak in GROUPS:
        group = Path(root) / f"farthing-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / limit).exists():
                (group / limit).write_text(str(limit_bytes))
                yield group, peak
                return
        finally:
            remove(group)
    yield None


def remove(group: Path) -> None:
    """Helpers of a process may outlive it by a moment: they end when they see that it is gone."""
    latest = time.monotonic() + LEAVE_S
    while (group / "cgroup.procs").read_text() and time.monotonic() < latest:
        time.sleep(WATCH_S)
    group.rmdir()


def run(arguments: dict[str, Any], limit_bytes: int) -> dict[str, Any]:
    command = [sys.executable, __file__, CHILD, json.dumps(arguments)]
    with control_group(limit_bytes) as found:
        enter = None if found is None else lambda: (found[0] / "cgroup.procs").write_text(str(os.getpid()))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=enter)
        while found is None and process.poll() is None:
            if status_bytes(process.pid, "VmRSS") > limit_bytes:
                process.kill()
            time.sleep(WATCH_S)
        output, errors = process.communicate()
        limited = "watched" if found is None else "control group"
        peak = {} if found is None else {"group_peak_bytes": int((found[0] / found[1]).read_text())}
    if process.returncode:
        last = (errors.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
        return {"limited_by": limited, "error": last, **peak}
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return {"limited_by": limited, **answer, **peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", metavar="FOLDER")
    parser.add_argument("--memory", required=True)
    parser.add_argument("--format", default="auto")
    parser.add_argument("--residency", default="auto")
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--long", type=int, default=16_000)
    parser.add_argument("--context", type=int, help="tokens that a text may have; default: 100 more than --long")
    options = parser.parse_args()
    settings = {"format": options.format, "residency": options.residency, "memory": options.memory, "device": "cpu",
                "context_length": options.context or options.long + 100}  # fmt: skip
    arguments = {"model": options.model, "settings": settings, "requests": options.requests, "long": options.long}
    limit_bytes = parse_bytes(options.memory)
    assert limit_bytes is not None, f"--memory is {options.memory!r}; it must be a size such as 1.6GB"
    row = run(arguments, limit_bytes)
    cells = [options.model, mebibytes(limit_bytes), row["limited_by"], row.get("error") or
             f"{row['answers']} of {options.requests}", f"{row.get('format')}, {row.get('residency')}",
             *(mebibytes(row[name]) if name in row else "" for name in ("planned_bytes", "peak_rss_bytes")),
             str(row.get("seconds"))]  # fmt: skip
    print(table(["model", "limit", "limited by", "answered", "run as", "planned", "peak", "seconds"], [cells]))
    print(json.dumps({**facts(["numpy"]), **arguments, "limit_bytes": limit_bytes, **row}))
    sys.exit(row.get("answers") != options.requests)


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        child(json.loads(sys.argv[2]))
    else:
        main()
