"""Runs a command and ends it, with all that it started, when standard input ends: when whoever started this is gone.

    python guard.py SECONDS COMMAND...      SECONDS lie between SIGTERM and SIGKILL

A script of its own, which imports nothing of Farthing's: it is one thread until the command runs, so that the command
may be told before it starts to end with this process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """On Linux, for the case that this very process is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def end(process: subprocess.Popen[bytes], within_s: float) -> None:
    signal_group(process, signal.SIGTERM)
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        signal_group(process, signal.SIGKILL)


def main(within_s: float, command: list[str]) -> int:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=end_with_parent,
    )

    def watch() -> None:
        while os.read(0, 1024):  # not sys.stdin, whose lock would be held when the interpreter ends
            pass
        end(process, within_s)

    threading.Thread(target=watch, daemon=True).start()
    # In a thread: the main one holds the lock of `process.wait` when the signal comes.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=end, args=(process, within_s)).start())
    status = process.wait()
    signal_group(process, signal.SIGKILL)  # what it left behind
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
