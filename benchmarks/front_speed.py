"""How fast the server answers what it has computed before, and what it adds to what it computes.

python benchmarks/front_speed.py cached MODEL [--seconds 8] [--rounds 3]
python benchmarks/front_speed.py computed MODEL [--format int8] [--requests 20]

`cached` starts `farthing serve MODEL`, asks for texts once, and then has wrk (https://github.com/wg/wrk) ask for them
again: single texts on 64 and on 200 connections, 32 texts a request, as base64. wrk runs on the same machine and takes
its part of the cores. `computed` starts the server without a cache and sends requests of 8 new texts of about 128
tokens one after the other: the client's time against the time that the forward passes took, as /metrics counts it. One
table and one JSON line each.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from report import facts, table

MAIN = "from farthing.cli.main import main; main()"
LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local bodies = {%s}
local next = 0
request = function()
  next = next %% #bodies + 1
  return wrk.format(nil, nil, nil, bodies[next])
end
"""
UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """The address of a server of its own, once it is ready."""
    with serving_process(*arguments) as (url, _):
        yield url


@contextmanager
def serving_process(*arguments: str) -> Iterator[tuple[str, int]]:
    """The address and the process id of a server of its own, once it is ready."""
    command = [sys.executable, "-c", MAIN, "serve", "--port", "0", "--log-level", "warning", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = next(line for line in process.stdout if line.startswith("Listening on ")).split()[2].rstrip(",")
        try:
            for line in process.stdout:
                if line.strip().startswith("try"):
                    break
            yield url, process.pid
        finally:
            process.terminate()
            process.wait(30)


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(f"{url}/v1/embeddings", json.dumps(body).encode())
    with urllib.request.urlopen(request) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def wrk(url: str, bodies: list[dict[str, Any]], connections: int, seconds: int) -> dict[str, float]:
    """Requests a second, and milliseconds of the median and the 99th percentile."""
    quoted = ", ".join(f"[==[{json.dumps(body)}]==]" for body in bodies)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "bodies.lua"
        script.write_text(LUA % quoted)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
        output = subprocess.run([*command, f"{url}/v1/embeddings"], capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in output, output
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", output)
    assert rate is not None, output
    found = {"rate": float(rate[1])}
    for percentile in (50, 99):
        match = re.search(rf"{percentile}%\s+([0-9.]+)(us|ms|s)", output)
        assert match is not None, output
        found[f"p{percentile}_ms"] = float(match[1]) * UNITS_MS[match[2]]
    return found


def cached(options: argparse.Namespace) -> tuple[list[list[str]], dict[str, Any]]:
    texts = [f"How do I get my money back for order {number}?" for number in range(256)]
    singles = [{"input": text, "encoding_format": "base64"} for text in texts]
    groups = [{"input": texts[start : start + 32], "encoding_format": "base64"} for start in range(0, 256, 32)]
    loads: dict[str, tuple[list[dict[str, Any]], int, int]] = {
        "1 text, 64 connections": (singles, 64, 1),
        "32 texts, 16 connections": (groups, 16, 32),
        "1 text, 200 connections": (singles, 200, 1),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in loads}
    with serving(options.model) as url:
        for body in groups:
            post(url, body)
        for _ in range(options.rounds):
            for name, (bodies, connections, _) in loads.items():
                found[name].append(wrk(url, bodies, connections, options.seconds))
    rows, row = [], {}
    for name, (_, _, num_texts) in loads.items():
        middle = {key: statistics.median(run[key] for run in found[name]) for key in found[name][0]}
        middle["texts_per_s"] = middle["rate"] * num_texts
        row[name] = {key: round(value, 2) for key, value in middle.items()}
        ratio = middle["p99_ms"] / middle["p50_ms"]
        rows.append([name, f"{middle['rate']:,.0f}", f"{middle['texts_per_s']:,.0f}", f"{middle['p50_ms']:.2f}",
                     f"{middle['p99_ms']:.2f}", f"{ratio:.1f}"])  # fmt: skip
    print(table(["cached", "requests/s", "texts/s", "p50 ms", "p99 ms", "p99/p50"], rows))
    return rows, row


def batch_seconds(url: str) -> float:
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        found = re.findall(r"^farthing_batch_seconds_total(?:{.*})? ([0-9.e+-]+)$", answer.read().decode(), re.M)
    return sum(map(float, found))


def computed(options: argparse.Namespace) -> tuple[list[list[str]], dict[str, Any]]:
    shares, tokens = [], 0
    with serving(options.model, "--format", options.format, "--cache", "off", "--share-prefixes", "off") as url:
        for number in range(options.requests + 3):
            texts = [" ".join(f"w{number} {place} {word}" for word in range(options.words)) for place in range(8)]
            before, started = batch_seconds(url), time.perf_counter()
            answer = post(url, {"input": texts, "encoding_format": "base64"})
            wall, passes = time.perf_counter() - started, batch_seconds(url) - before
            if number >= 3:
                shares.append(wall / passes - 1)
                tokens = answer["usage"]["total_tokens"]
    added = statistics.median(shares)
    rows = [[options.format, f"{tokens / 8:.0f}", f"{added:.2%}", f"{max(shares):.2%}"]]
    print(table(["8 texts, format", "tokens a text", "the front adds, median", "most"], rows))
    return rows, {"format": options.format, "tokens": tokens, "added": round(added, 4), "most": round(max(shares), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("cached", "computed"))
    parser.add_argument("model")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--format", default="int8")
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--words", type=int, default=30)
    options = parser.parse_args()
    if options.what == "cached":
        assert shutil.which("wrk"), "wrk is not installed (Debian package wrk)"
        _, row = cached(options)
    else:
        _, row = computed(options)
    print(json.dumps({**facts(["torch", "uvicorn", "fastapi", "orjson"]), **row}))


if __name__ == "__main__":
    main()
