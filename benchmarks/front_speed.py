"""How fast the server answers what it has computed before, and what it adds to what it computes.

python benchmarks/front_speed.py cached MODEL [--seconds 8] [--rounds 3]
python benchmarks/front_speed.py computed MODEL [--format int8] [--requests 20]
python benchmarks/front_speed.py cached|computed MODEL --against SRC [--pairs 40]

`cached` starts `farthing serve MODEL`, asks for texts once, and then has wrk (https://github.com/wg/wrk) ask for them
again: single texts on 64 and on 200 connections, 32 texts a request, as base64. wrk runs on the same machine and takes
its part of the cores. `computed` starts the server without a cache and sends requests of 8 new texts of about 128
tokens one after the other: the client's time against the time that the forward passes took, as /metrics counts it.

With --against another version is served beside this one, and wrk asks both in turn, a second each: for kept texts as
above, or for 8 new texts of `--words` words a request, on one connection and on four. The version that goes first
changes from pair to pair. SRC is that version's PYTHONPATH: its folder `src`, and what else it needs. The ratio of a
pair is how many requests a second this version answers for one of the other; the table has the median and the quartiles
of all pairs.
One table and one JSON line each.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
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
NEW_LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
math.randomseed(%d)
request = function()
  local texts = {}
  for text = 1, 8 do
    local words = {}
    for word = 1, %d do words[word] = "w" .. math.random(0, 999999) end
    texts[text] = '"' .. table.concat(words, " ") .. '"'
  end
  return wrk.format(nil, nil, nil, '{"input": [' .. table.concat(texts, ",") .. '], "encoding_format": "base64"}')
end
"""
UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
COMPUTE = ("--cache", "off", "--share-prefixes", "off")
CONNECTIONS = (1, 4)

Body = dict[str, Any]


@contextmanager
def serving(*arguments: str, source: str | None = None) -> Iterator[str]:
    """The address of a server of its own, once it is ready; of the version under `source`, where that is given."""
    with serving_process(*arguments, source=source) as (url, _):
        yield url


@contextmanager
def serving_process(*arguments: str, source: str | None = None) -> Iterator[tuple[str, int]]:
    """The address and the process id of a server of its own, once it is ready."""
    command = [sys.executable, "-c", MAIN, "serve", "--port", "0", "--log-level", "warning", *arguments]
    environment = dict(os.environ) if source is None else {**os.environ, "PYTHONPATH": source}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
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


def wrk_of(url: str, bodies: list[Body], connections: int, seconds: int) -> dict[str, float]:
    """As `wrk`, for these bodies in turn."""
    return wrk(url, LUA % ", ".join(f"[==[{json.dumps(body)}]==]" for body in bodies), connections, seconds)


def wrk(url: str, lua: str, connections: int, seconds: int) -> dict[str, float]:
    """Requests a second, and milliseconds of the median and the 99th percentile."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "bodies.lua"
        script.write_text(lua)
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


def cached_loads() -> tuple[list[Body], dict[str, tuple[list[Body], int, int]]]:
    """Requests that hold every text once; and of each load its requests, its connections, and a request's texts."""
    texts = [f"How do I get my money back for order {number}?" for number in range(256)]
    singles = [{"input": text, "encoding_format": "base64"} for text in texts]
    groups = [{"input": texts[start : start + 32], "encoding_format": "base64"} for start in range(0, 256, 32)]
    return groups, {
        "1 text, 64 connections": (singles, 64, 1),
        "32 texts, 16 connections": (groups, 16, 32),
        "1 text, 200 connections": (singles, 200, 1),
    }


def cached(options: argparse.Namespace) -> tuple[list[list[str]], dict[str, Any]]:
    groups, loads = cached_loads()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in loads}
    with serving(options.model) as url:
        for body in groups:
            post(url, body)
        for _ in range(options.rounds):
            for name, (bodies, connections, _) in loads.items():
                found[name].append(wrk_of(url, bodies, connections, options.seconds))
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
    with serving(options.model, "--format", options.format, *COMPUTE) as url:
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


def in_turn(this: Callable[[], float], other: Callable[[], float], pairs: int) -> list[float]:
    """What the two measure, this by the other, pair by pair; each begins every second pair."""
    this(), other()
    ratios = []
    for number in range(pairs):
        first, second = (this, other) if number % 2 else (other, this)
        one, two = first(), second()
        ratios.append(one / two if first is this else two / one)
    return ratios


def compared(options: argparse.Namespace) -> dict[str, Any]:
    arguments = [options.model] if options.what == "cached" else [options.model, "--format", options.format, *COMPUTE]
    with serving(*arguments) as this, serving(*arguments, source=options.against) as other:
        loads: dict[str, Callable[[str], float]] = {}
        if options.what == "cached":
            groups, cases = cached_loads()
            for url in (this, other):
                for body in groups:
                    post(url, body)
            loads = {name: partial(wrk_rate, bodies, connections) for name, (bodies, connections, _) in cases.items()}
        else:
            loads = {
                f"8 new texts, connections: {number}": partial(new_rate, number, options.words)
                for number in CONNECTIONS
            }
        found = {
            name: in_turn(partial(load, this), partial(load, other), options.pairs) for name, load in loads.items()
        }
    row: dict[str, dict[str, Any]] = {
        name: {
            "median": round(statistics.median(ratios), 3),
            "quartiles": [round(edge, 3) for edge in statistics.quantiles(ratios)[::2]],
        }
        for name, ratios in found.items()
    }
    shown = [
        [name, f"{one['median']:.3f}", " to ".join(f"{edge:.3f}" for edge in one["quartiles"])]
        for name, one in row.items()
    ]
    print(table([f"{options.what}, this version by the other", "median", "quartiles"], shown))
    return row


def wrk_rate(bodies: list[Body], connections: int, url: str) -> float:
    """Requests a second, over one second."""
    return wrk_of(url, bodies, connections, 1)["rate"]


def new_rate(connections: int, words: int, url: str) -> float:
    """Requests a second, over one second, with new texts."""
    return wrk(url, NEW_LUA % (random.randrange(10**9), words), connections, 1)["rate"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("cached", "computed"))
    parser.add_argument("model")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--format", default="int8")
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--words", type=int, default=30)
    parser.add_argument("--against", metavar="SRC")
    parser.add_argument("--pairs", type=int, default=40)
    options = parser.parse_args()
    if options.what == "cached" or options.against is not None:
        assert shutil.which("wrk"), "wrk is not installed (Debian package wrk)"
    if options.against is not None:
        row = compared(options)
    elif options.what == "cached":
        _, row = cached(options)
    else:
        _, row = computed(options)
    print(json.dumps({**facts(["numpy", "uvicorn", "fastapi", "orjson"]), **row}))


if __name__ == "__main__":
    main()
