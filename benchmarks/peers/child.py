"""The process of one engine: `python -m peers.child FD`, with a connection to the parent on that descriptor.

In: what to do ("export" or "serve") with a `Task`, then, when serving, batches of texts. Out: None when that is done or
loaded, then an `Answer` each time. Imports no engine but the task's, so that its memory is the engine's. An exception
ends it, with the traceback on standard error.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from peers.engines import ENGINES
from peers.task import Answer, Embed, Texts


def main(connection: Connection) -> None:
    job, task = connection.recv()
    if job == "export":
        ENGINES[task.engine].export(task)
        connection.send(None)
        return
    embed = ENGINES[task.engine].load(task)
    connection.send(None)
    while True:
        try:
            batches = connection.recv()
        except EOFError:  # the parent has closed its end
            return
        connection.send(run(embed, batches))


def run(embed: Embed, batches: Sequence[Texts]) -> Answer:
    started = time.perf_counter()
    rows = [embed(batch) for batch in batches]
    return Answer(time.perf_counter() - started, np.concatenate(rows), resident_bytes())


def resident_bytes() -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].removesuffix("kB")) * 1024


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
