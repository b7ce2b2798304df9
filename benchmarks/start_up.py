"""How long starts take: a Python process to its first vector, a server to its first /health 200, a search command.

    pip install 'farthing[server,search]'
    python benchmarks/start_up.py [--small starter] [--large DIR] [--rounds 9] [--preparing 3]

Every start is a process of its own, and all take turns (A B C A B C ...); medians count. The models were prepared, and
their files are in the page cache. --large is a second model to serve, such as `farthing synth qwen3-0.6b
DIR`; with --preparing it is also served so many times from an empty cache, in which it is rounded to int8 first.
"Resident" is VmRSS after one short text, mapped files included. Where ONNX Runtime and an export of the small model by
benchmarks/cpu_peers.py are at hand, its process to the first vector takes part, with the same tokenizer. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from report import facts, json_line, table

FARTHING = (sys.executable, "-m", "farthing")
TEXT = "how do I reset the password of my account"
DOCUMENTS = 30
EVERY_S = 0.01  # how often a server is asked
VECTOR = """
import sys
from farthing import Embedder
vectors = Embedder(sys.argv[1]).encode([sys.argv[2]])
assert vectors.shape[0] == 1
print(*(line for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""
# With the model's file, the folder of its tokenizer, and the number of threads as its first arguments.
ONNX_SESSION = """
import sys
import numpy as np
import onnxruntime
from tokenizers import Tokenizer
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[3])
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
tokenizer = Tokenizer.from_file(sys.argv[2] + "/tokenizer.json")
tokenizer.no_padding()
names = [given.name for given in session.get_inputs()]
def rows(text):
    ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
    return session.run(None, dict(zip(names, (ids, np.ones_like(ids)))))[0]
"""
PEER = f"""{ONNX_SESSION}
rows(sys.argv[4])
print(*(line for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""
# As users have it: modules that were compiled once are not compiled again.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class Start:
    """Seconds, and MiB that are resident then where they are known."""

    seconds: float
    resident_mib: float | None = None


def of_program(program: str, *arguments: str) -> Start:
    """A Python program from its start to its end; it prints what it holds."""
    started = time.perf_counter()
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    return Start(time.perf_counter() - started, int(done.stdout.split()[-2]) / 1024)


def of_command(*arguments: str) -> Start:
    started = time.perf_counter()
    subprocess.run([*FARTHING, *arguments], env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return Start(time.perf_counter() - started)


def of_server(model: str, *flags: str) -> Start:
    """From its start to the first /health 200."""
    port, started = free_port(), time.perf_counter()
    server = subprocess.Popen(
        [*FARTHING, "serve", model, "--port", str(port), *flags], env=ENVIRONMENT, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not is_ready(port):
            if server.poll() is not None:
                raise SystemExit(f"farthing serve {model} ended with status {server.returncode}")
            time.sleep(EVERY_S)
        seconds = time.perf_counter() - started
        body = json.dumps({"input": TEXT}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/embeddings", body, headers)
        urllib.request.urlopen(request, timeout=60).read()
        lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
        resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
        return Start(seconds, resident / 1024)
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            ready: bool = answer.status == 200
            return ready
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def of_preparing(model: str) -> Start:
    """A server from an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        return of_server(model, "--cache-dir", cache)


def small_index(folder: Path, model: str) -> Path:
    for number in range(DOCUMENTS):
        text = f"Document {number}: how to reset the password of account {number} and pay invoice {7 * number}."
        (folder / f"{number}.txt").write_text(text)
    index = folder / "index"
    of_command("index", "create", str(index), "--model", model)
    of_command("index", "add", str(index), *(str(file) for file in sorted(folder.glob("*.txt"))))
    return index


def exported(model: str) -> tuple[str, str] | None:
    """ONNX Runtime's file of a model in int8 and the folder with its tokenizer; None where they are not at hand."""
    try:
        import onnxruntime  # noqa: F401

        from peers.engines import ENGINES
        from peers.models import find_model

        found = find_model(model, 0, Path("~/.cache/farthing/benchmarks").expanduser())
    except (ImportError, OSError, ValueError):
        return None
    file = ENGINES["onnxruntime"].file(found.cache)
    return (str(file), str(found.checkpoint)) if file.is_file() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", default="starter")
    parser.add_argument("--large", help="another model to serve")
    parser.add_argument("--peer-model", default="minilm", help="the small model as benchmarks/cpu_peers.py calls it")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--preparing", type=int, default=0, help="how often the large model is prepared")
    options = parser.parse_args()
    about = facts(["farthing", "numpy", "tokenizers"])
    with tempfile.TemporaryDirectory() as folder:
        starts: dict[str, Callable[[], Start]] = {
            "Python to the first vector": lambda: of_program(VECTOR, options.small, TEXT),
            "farthing serve to /health": lambda: of_server(options.small),
        }
        if find_spec("lancedb"):
            index = str(small_index(Path(folder), options.small))
            starts["farthing search"] = lambda: of_command("search", index, TEXT)
        if options.large:
            starts["farthing serve LARGE to /health"] = lambda: of_server(options.large)
        if peer := exported(options.peer_model):
            threads = str(about["threads"])
            starts["ONNX Runtime to the first vector"] = lambda: of_program(PEER, *peer, threads, TEXT)
        found: dict[str, list[Start]] = {name: [] for name in starts}
        for number in range(options.rounds + 1):
            for name, start in starts.items():
                one = start()
                if number:  # the first fills caches, and is not counted
                    found[name].append(one)
        if options.large and options.preparing:
            preparing = [of_preparing(options.large) for _ in range(options.preparing)]
            found["farthing serve LARGE to /health, from an empty cache"] = preparing
    rows = []
    for name, each in found.items():
        seconds, held = [one.seconds for one in each], [one.resident_mib for one in each if one.resident_mib]
        shown = f"{median(held):.0f}" if held else ""
        rows.append([name, f"{median(seconds):.2f}", f"{min(seconds):.2f}", f"{max(seconds):.2f}", shown])
    print(table(["start", "median s", "least", "most", "resident MiB"], rows))
    runs = {name: [one.seconds for one in each] for name, each in found.items()}
    resident = {name: [round(one.resident_mib) for one in each if one.resident_mib] for name, each in found.items()}
    print(json_line(about, runs, resident_mib=resident, small=options.small, large=options.large))


if __name__ == "__main__":
    main()
