"""Another engine as a child process: started, its log passed on, started again when it dies, ended with us.

The engine is the child of a guard (`farthing.upstream.child_engine.guard`). The guard ends it when this process is
gone, however that came about.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from farthing.upstream.child_engine import guard

logger = logging.getLogger(__name__)

END_S = 10.0  # between SIGTERM and SIGKILL
MAX_FIRST_DEATHS = 3  # of an engine that has never been ready
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
STEADY_S = 60.0  # a death after this long is a new one, and the pause is short again
LAST_LINES = 15  # of the log, which an error repeats


class Engine:
    """
    Args:
        name: stands before each line of the engine's log.
        command: starts the engine; it must not go into the background.
    """

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name, self._command = name, list(command)
        self.failure = ""
        self._is_expected = False
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._lock = threading.Lock()  # between a start and the end
        self._process: subprocess.Popen[str] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"farthing-{name}", daemon=True)

    def start(self) -> None:
        logger.info("Starting %s", subprocess.list2cmdline(self._command))
        self._thread.start()

    def facts(self) -> dict[str, str]:
        return {"engine": subprocess.list2cmdline(self._command)}

    def expect_restarts(self) -> None:
        """Note that the engine was ready once: from now on it is started again whenever it dies."""
        self._is_expected = True

    def close(self) -> None:
        """End the engine and all that it started. Closing twice is fine."""
        self._closing.set()
        with self._lock:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()
        self._thread.join()

    def _run(self) -> None:
        pause_s, num_deaths = FIRST_PAUSE_S, 0
        while not self._closing.is_set():
            started = time.monotonic()
            status = self._run_once()
            if self._closing.is_set():
                return
            num_deaths += 1
            if not self._is_expected and num_deaths >= MAX_FIRST_DEATHS:
                last = "\n  ".join(self._lines)
                self.failure = f"{self.name} ended {num_deaths} times before it was ready. Its last lines:\n  {last}"
                return
            pause_s = FIRST_PAUSE_S if time.monotonic() - started > STEADY_S else pause_s
            logger.error("%s ended with status %d; it is started again in %g s", self.name, status, pause_s)
            self._closing.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _run_once(self) -> int:
        with self._lock:
            if self._closing.is_set():
                return 0
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(guard.__file__)), str(END_S), *self._command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # we decide what a Ctrl-C in the terminal does
            )
            self._process = process
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                self._lines.append(line.rstrip())
                logger.info("[%s] %s", self.name, line.rstrip())
        return process.returncode
