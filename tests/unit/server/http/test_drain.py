"""A server that is told to stop ends in its time, whatever still runs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

STUCK = """
import asyncio, re, signal, sys, threading, time
import uvicorn
from farthing.server.http import drain

drain.CLOSING_S, drain.ALARM_S = 0.5, 0.5

async def app(scope, receive, send):
    pass

def wait():
    threading.Event().wait()

def hold_the_lock():
    time.sleep(1.0)  # until the signal has been taken
    re.match("(a+)+$", "a" * 40 + "b")

config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=0)
server = drain.DrainingServer(config, ends_process=True)
signal.signal(signal.SIGTERM, server.handle_exit)
threading.Thread(target={"wait": wait, "hold the lock": hold_the_lock}[sys.argv[1]]).start()
print("running", flush=True)
asyncio.run(asyncio.sleep(60)) if sys.argv[1] == "wait" else time.sleep(60)
"""


@pytest.mark.parametrize(("thread", "status"), [("wait", 0), ("hold the lock", -signal.SIGALRM)])
def test_a_thread_that_cannot_be_ended_keeps_the_process_no_longer_than_its_time(thread: str, status: int) -> None:
    with subprocess.Popen([sys.executable, "-c", STUCK, thread], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            found = process.wait(30)
        finally:
            process.kill()
    assert time.monotonic() - started < 10
    assert found in (0, status)
