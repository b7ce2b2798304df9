"""Runs a command and ends it, with all that it started, when standard input ends: whoever started this is gone then.

    python guard.py SECONDS COMMAND...      SECONDS lie between SIGTERM and SIGKILL

It is a script of its own and imports nothing of Farthing's. Thus there is only one thread until the command runs, so
that the command can be told, before it starts, to end with this process.
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
    """Have the command end when this very process, the guard, is killed; on Linux only."""
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
    # In a thread, because the main one holds the lock of `process.wait` when the signal comes.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=end, args=(process, within_s)).start())
    status = process.wait()
    signal_group(process, signal.SIGKILL)  # ends what the command left behind
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
