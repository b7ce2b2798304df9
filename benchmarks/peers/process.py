"""The parent's side of an engine's process. Linux only: it reads /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from farthing.engine.plan.cpu import busy_seconds
from peers.engines import ENGINES
from peers.task import Answer, Task, Texts

BENCHMARKS = Path(__file__).parents[1]
# Thread pools may spin for a while after their work: how long they get to fall asleep, and what share of a core a
# waiting process may use then (plus two ticks of the clock that counts it).
SETTLE_SECONDS = 0.3
IDLE_SHARE, IDLE_SECONDS = 0.01, 0.02
# How oneDNN, which OpenVINO and torch multiply with, and torch's own operations are held to older instructions.
LIMITS = {"avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}}


class EngineError(RuntimeError):
    """An engine's process ended, or did not keep still."""


class EngineProcess:
    """A process that has done the export, or has loaded the model and waits.

    Raises:
        EngineError: from every method, when the process ended.
    """

    def __init__(self, job: str, task: Task) -> None:
        self.engine = task.engine
        self._connection, theirs = Pipe()
        path = os.pathsep.join(filter(None, (str(BENCHMARKS), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "peers.child", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": path, **LIMITS.get(task.isa or "", {})},
            stdout=sys.stderr,  # standard output is for the results
        )
        theirs.close()
        self._ask((job, task))

    def run(self, batches: Sequence[Texts]) -> Answer:
        answer = self._ask(batches)
        assert isinstance(answer, Answer)
        return answer

    def cpu_seconds(self) -> float:
        """Used so far, by all threads, in user and system mode (proc(5): utime and stime, in clock ticks)."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self._connection.close()
        self._process.wait()

    def _ask(self, message: object) -> Any:
        try:
            self._connection.send(message)
            return self._connection.recv()
        except (EOFError, OSError) as error:
            status = self._process.wait()
            raise EngineError(f"{self.engine} ended with status {status}; see standard error") from error


def export(task: Task) -> None:
    """Make the engine's own model, in a process that ends, unless it is there or not needed."""
    if ENGINES[task.engine].exported and not task.exported.is_file():
        EngineProcess("export", task).close()


@dataclass(frozen=True)
class Run:
    """
    Attributes:
        cores_elsewhere: how many cores processes that are not the comparison's kept busy meanwhile, on average.
    """

    answer: Answer
    cores_elsewhere: float


def run_alone(processes: Sequence[EngineProcess], chosen: EngineProcess, batches: Sequence[Texts]) -> Run:
    """Raises `EngineError` when another engine computed meanwhile: idle threads that spin would slow this one."""
    time.sleep(SETTLE_SECONDS)
    machine, before = busy_seconds() or 0.0, {process: process.cpu_seconds() for process in processes}
    answer = chosen.run(batches)
    machine = (busy_seconds() or 0.0) - machine
    used = {process: process.cpu_seconds() - then for process, then in before.items()}
    for process, seconds in used.items():
        if process is not chosen and seconds > IDLE_SECONDS + IDLE_SHARE * answer.seconds:
            raise EngineError(
                f"{process.engine} used {seconds:.2f} s of CPU in {answer.seconds:.2f} s of {chosen.engine}'s"
            )
    return Run(answer, max(machine - sum(used.values()), 0.0) / answer.seconds)
