"""Whole processes: ours before others that are killed, stopped and started again, and before an engine it starts."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from processes import MAIN, Process, load_on, wait_for

# An engine's command as far as we use it: `ENGINE serve MODEL ...`, in front of a Farthing of the same flags.
FAKE_ENGINE = """#!{python}
import json, os, pathlib, sys
flags = dict(zip(sys.argv, sys.argv[1:]))
here = pathlib.Path({folder!r})
with open(here / "starts", "a") as file:
    print(json.dumps([os.getpid(), sys.argv[1:]]), file=file)
print("engine is starting", flush=True)
if "--die" in sys.argv:
    sys.exit("there is no card")
os.execv({python!r}, [{python!r}, "-c", {main!r}, "serve", flags.get("--model-path", sys.argv[2]),
    "--host", flags["--host"], "--port", flags["--port"], "--served-model-name", flags["--served-model-name"]])
"""


def test_upstreams_that_are_killed_stopped_and_started_fail_no_request(
    serve: Callable[..., Process], starter_dir: Path
) -> None:
    names = ("--served-model-name", "minilm", "--log-level", "error")
    first = serve(str(starter_dir), "--port", "0", *names)
    port = str(httpx.URL(first.url).port)
    second = serve(str(starter_dir), "--port", "0", *names)
    ours = serve(
        "--upstream", f"{first.url}/v1", "--upstream", f"{second.url}/v1", "--model", "minilm", "--port", "0",
        "--upstream-timeout-s", "2", FARTHING_UPSTREAM_API_KEY="sesame",
    )  # fmt: skip
    ours.wait_until_ready()
    wait_for(lambda: ours.text().count(" is used\n") == 2)

    with load_on(ours.url) as answers:
        wait_for(lambda: len(answers) > 20)
        first.popen.kill()
        first.popen.wait()
        killed_at = len(answers)
        wait_for(lambda: len(answers) > killed_at + 20)
        first = serve(str(starter_dir), "--port", port, *names)
        wait_for(lambda: ours.text().count(" is used\n") == 3)
        os.kill(second.popen.pid, signal.SIGSTOP)
        wait_for(lambda: "gave no answer within 2 s" in ours.text())
        stopped_at = len(answers)
        wait_for(lambda: len(answers) > stopped_at + 20)
        os.kill(second.popen.pid, signal.SIGCONT)
        wait_for(lambda: ours.text().count(" is used\n") == 4)

    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert {answer.headers["x-farthing-space"] for answer in answers} == {answers[0].headers["x-farthing-space"]}
    assert "upstream_api_key = ***" in ours.text()
    assert "sesame" not in ours.text()
    maps = Path(f"/proc/{ours.popen.pid}/maps")
    assert not maps.is_file() or "libtorch" not in maps.read_text()
    ours.popen.terminate()
    assert ours.popen.wait(30) == 0


class FakeEngine:
    """A command on the PATH that stands for an engine; `starts` are its process ids and arguments."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        command = folder / name
        command.write_text(FAKE_ENGINE.format(python=sys.executable, folder=str(folder), main=MAIN))
        command.chmod(0o755)
        self.path = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}

    def starts(self) -> list[tuple[int, list[str]]]:
        file = self.folder / "starts"
        return [tuple(json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.is_file() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_an_engine_is_started_watched_restarted_and_ended(
    serve: Callable[..., Process], starter_dir: Path, tmp_path: Path
) -> None:
    engine = FakeEngine("vllm", tmp_path)
    flags = ("--engine", "vllm", "--context-length", "200", "--engine-args", "--seed 1")
    ours = serve(str(starter_dir), "--served-model-name", "minilm", "--port", "0", *flags, **engine.path)
    ours.wait_until_ready()
    assert "[vllm] engine is starting" in ours.text()
    ((pid, args),) = engine.starts()
    assert args[:2] == ["serve", str(starter_dir)]
    assert "--max-model-len 200" in " ".join(args)
    assert args[-2:] == ["--seed", "1"]
    answer = httpx.post(f"{ours.url}/v1/embeddings", json={"input": "Hello", "dimensions": 8})
    assert len(answer.json()["data"][0]["embedding"]) == 8

    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(engine.starts()) == 2)
    wait_for(lambda: httpx.post(f"{ours.url}/v1/embeddings", json={"input": "Hello"}).status_code == 200)
    assert "vllm ended with status 137; it is started again in 1 s" in ours.text()

    pid = engine.starts()[1][0]
    ours.popen.terminate()
    assert ours.popen.wait(30) == 0
    wait_for(lambda: not is_alive(pid), 5)


def test_an_engine_does_not_outlive_a_server_that_is_killed(
    serve: Callable[..., Process], starter_dir: Path, tmp_path: Path
) -> None:
    engine = FakeEngine("sglang", tmp_path)
    ours = serve(str(starter_dir), "--engine", "sglang", "--port", "0", **engine.path)
    wait_for(lambda: engine.starts())
    pid, args = engine.starts()[0]
    assert args[:4] == ["serve", "--model-path", str(starter_dir), "--is-embedding"]
    assert is_alive(pid)
    ours.popen.kill()
    wait_for(lambda: not is_alive(pid), 15)


def test_an_engine_that_never_is_ready_ends_the_start_with_its_last_words(
    serve: Callable[..., Process], starter_dir: Path, tmp_path: Path
) -> None:
    engine = FakeEngine("vllm", tmp_path)
    ours = serve(str(starter_dir), "--engine", "vllm", "--engine-args=--die", "--port", "0", **engine.path)
    assert ours.popen.wait(60) == 1
    assert "vllm ended 3 times before it was ready" in ours.text()
    assert "there is no card" in ours.text()


def test_an_engine_that_is_not_installed_is_an_error_that_says_how(serve: Any, starter_dir: Path) -> None:
    ours = serve(str(starter_dir), "--engine", "sglang", "--port", "0")
    assert ours.popen.wait(60) == 1
    assert "pip install sglang" in ours.text()
