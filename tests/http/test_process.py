"""The whole process, as a user starts and stops it: what it prints, its signals, its exit status."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

MAIN = "from farthing.cli.main import main; main()"
DYING_WORKER = """
from farthing.engine.runner import Runner
def die(*_):
    raise SystemExit("the device has gone")
Runner.run = die
"""
ENDLESS_LOADING = """
import time
from farthing.serving.embedder import Embedder
Embedder.from_settings = lambda *_, **__: time.sleep(1000)
"""


class Process:
    """A `farthing serve` process and the lines it has printed."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.popen = popen
        self.lines: list[str] = []
        self.url = self.read_until("Listening on ").split()[2].rstrip(",")

    def read_until(self, start: str) -> str:
        """The next line that starts so, without its indentation."""
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.append(line.rstrip())
            if line.strip().startswith(start):
                return line.strip()
        raise AssertionError(f"no line {start!r} in {self.lines}")

    def wait(self) -> int:
        return self.popen.wait(timeout=30)


@contextmanager
def serve(*args: str, before: str = "") -> Iterator[Process]:
    """Start `farthing serve --port 0 ARGS` after running the code in `before`; kill what is left at the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FARTHING_")}
    command = [sys.executable, "-c", before + MAIN, "serve", "--port", "0", *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as popen:
        try:
            yield Process(popen)
        finally:
            popen.kill()


def kernel() -> object:
    """The native int8 kernels; None where they were not built."""
    from farthing.quant.native.team import native_kernels

    return native_kernels(2)


def nobody_waits(url: str) -> bool:
    return 'farthing_waiting_texts{lane="interactive",model="minilm"} 0.0' in httpx.get(f"{url}/metrics").text


def test_the_printed_command_works_and_sigterm_finishes_what_runs(starter_dir: Path) -> None:
    with serve(str(starter_dir), "--served-model-name", "minilm") as process:
        line = process.read_until("try ")
        printed = "\n".join(process.lines)
        for fact in (f"local folder {starter_dir}", "cpu", "int8", "384", "256 tokens"):
            assert fact in printed
        assert f"{process.url}/docs" in process.read_until("browser")
        curl = shlex.split(line.removeprefix("try "))
        answer = httpx.post(curl[1], content=curl[curl.index("-d") + 1])
        assert answer.json()["model"] == "minilm"

        texts = [f"{number} " + "some words " * 30 for number in range(400)]  # identical ones would be computed once

        def long_request() -> httpx.Response:
            return httpx.post(f"{process.url}/v1/embeddings", json={"input": texts}, timeout=60)

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(long_request)
            while nobody_waits(process.url):
                assert not running.done()
            process.popen.send_signal(signal.SIGTERM)
            assert len(running.result(timeout=60).json()["data"]) == 400
        assert process.wait() == 0
        with socket.socket() as probe:
            url = httpx.URL(process.url)
            assert probe.connect_ex((url.host, url.port or 0)) != 0


def test_a_reranker_beside_the_model_shares_its_memory(starter_dir: Path, tiny_reranker: Path) -> None:
    names = ("--reranker", str(tiny_reranker), "--served-reranker-name", "judge", "--memory", "900MiB")
    with serve(str(starter_dir), *names) as process:
        process.read_until("try ")
        process.read_until("try ")
        memory = [line for line in process.lines if line.strip().startswith("memory")]
        limits = [int(re.findall(r"of ([0-9,]+) MiB$", line)[0].replace(",", "")) for line in memory]
        assert len(limits) == 2
        assert all(limit < 900 for limit in limits)
        body = {"query": "a", "documents": ["b", "c"], "model": "judge"}
        assert len(httpx.post(f"{process.url}/v1/rerank", json=body).json()["results"]) == 2
        assert httpx.post(f"{process.url}/v1/embeddings", json={"input": "a"}).status_code == 200


def test_a_reranker_alone_is_served_when_the_task_says_so(tiny_reranker: Path) -> None:
    with serve(str(tiny_reranker), "--task", "rerank") as process:
        command = shlex.split(process.read_until("try ").removeprefix("try "))
        assert len(httpx.post(command[1], content=command[command.index("-d") + 1]).json()["results"]) == 2


def test_two_models_that_do_not_fit_together_end_the_process_with_status_1(
    starter_dir: Path, tiny_reranker: Path
) -> None:
    with serve(str(starter_dir), "--reranker", str(tiny_reranker), "--memory", "120MiB") as process:
        assert process.wait() == 1


def test_ctrl_c_stops_a_server_that_still_loads(tiny_qwen3: Path) -> None:
    with serve(str(tiny_qwen3), before=ENDLESS_LOADING) as process:
        assert httpx.get(f"{process.url}/health").json()["status"] == "loading"
        process.popen.send_signal(signal.SIGINT)
        assert process.wait() == 0


def test_a_model_that_is_not_there_ends_the_process_with_status_1(tmp_path: Path) -> None:
    with serve(str(tmp_path / "nothing"), "--offline") as process:
        assert process.wait() == 1


def test_a_dead_worker_ends_the_process_with_status_70_when_told_so(tiny_qwen3: Path) -> None:
    with serve(str(tiny_qwen3), "--on-worker-death", "exit", before=DYING_WORKER) as process:
        process.read_until("try ")
        answer = httpx.post(f"{process.url}/v1/embeddings", json={"input": "a"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "worker_died")
        assert process.wait() == 70


def test_a_port_in_use_is_a_clear_error(tiny_qwen3: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-c", MAIN, "serve", str(tiny_qwen3), "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert f"Cannot listen on 127.0.0.1 port {port}: Address already in use. " in done.stderr
    assert "Traceback" not in done.stderr


def test_models_of_a_file_are_loaded_when_asked_and_unloaded_when_idle(
    starter_dir: Path, tiny_qwen3: Path, tmp_path: Path
) -> None:
    file = tmp_path / "farthing.toml"
    file.write_text(
        f"""
        memory = "1200MiB"
        [models.first]
        model = "{starter_dir}"
        preload = true
        [models.second]
        model = "{tiny_qwen3}"
        aliases = ["other"]
        keep_alive_s = 0.5
        context_length = 512
        [routes]
        any = ["second", "first"]
        """
    )
    with serve("--config", str(file)) as process:
        process.read_until("and         second")

        def states() -> list[str]:
            return [model["state"] for model in httpx.get(f"{process.url}/health").json()["models"]]

        def answered_by(model: str) -> tuple[str, int]:
            answer = httpx.post(f"{process.url}/v1/embeddings", json={"input": "a", "model": model}, timeout=60).json()
            return answer["model"], len(answer["data"][0]["embedding"])

        assert states() == ["ready", "not loaded"]
        assert answered_by("first") == answered_by("auto") == ("first", 384)
        assert answered_by("other") == answered_by("any") == ("second", 64)
        while states() != ["ready", "not loaded"]:
            pass
        assert answered_by("second") == ("second", 64)
        names = [card["id"] for card in httpx.get(f"{process.url}/v1/models").json()["data"]]
        assert names == ["first", "second", "any"]


def test_a_second_signal_stops_at_once(starter_dir: Path) -> None:
    with serve(str(starter_dir), "--drain-delay-s", "60") as process:
        process.read_until("try ")
        process.popen.send_signal(signal.SIGTERM)
        while httpx.get(f"{process.url}/health").status_code == 200:
            pass
        process.popen.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM


def test_what_is_not_finished_in_time_is_answered_and_the_status_is_still_0(starter_dir: Path) -> None:
    texts = [f"{number} " + "some words " * 100 for number in range(8000)]  # half a minute and more
    with (
        serve(str(starter_dir), "--drain-timeout-s", "1", "--served-model-name", "minilm") as process,
        ThreadPoolExecutor(1) as pool,
    ):
        process.read_until("try ")
        running = pool.submit(httpx.post, f"{process.url}/v1/embeddings", json={"input": texts}, timeout=60)
        while nobody_waits(process.url):
            assert not running.done()
        process.popen.send_signal(signal.SIGTERM)
        assert running.result(timeout=30).json()["error"]["code"] == "closed"
        assert process.wait() == 0
