"""Every field of every route, by size and by nesting, to the limits and far beyond them.

Whatever it holds, the answer is no failure, nobody else waits for long, and the process keeps to its memory. By default
a seeded part of all combinations is sent; with --slow all of them are.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import attacks
from farthing.server.dialects.fields import ONLY, OTHER_NAMES

SEED = 20_261_129
NUM_BY_DEFAULT = 60
MEMORY, MEMORY_BYTES = "1GB", 10**9
# Far less than a parser without a bound takes, and far more than a machine with other work should add to a tenth of it:
# `benchmarks/attacks.py` measures.
LONGEST_GAP_MS = 1000
MAX_BYTES = 15_000_000  # what is larger is refused before it is read

# The same limits are met from both sides: a little under and ten times over.
STRINGS = {
    "letters": "x",
    "words": "word ",
    "blanks": " ",
    "joiners": "é\u200d",
    "Chinese": "中",
    "emoji": "😀",
    "digits": "1",
    "signs": "#",
    "brackets": "[",
    "quotes": '"\\',
}
STRING_SIZES = (60, 4_000, 9_000, 100_000, 990_000, 9_900_000)
ITEMS: dict[str, Any] = {
    "numbers": 1,
    "texts": "x",
    "lists": [],
    "objects": {},
    "nulls": None,
    "long texts": "word " * 2000,
}
LIST_SIZES = (60, 1_000, 8_000, 100_000, 1_000_000)
DEPTHS = (60, 500, 1_000, 100_000)


def values() -> Iterator[tuple[str, bytes]]:
    """JSON of each kind and size with its name."""
    for (name, piece), size in itertools.product(STRINGS.items(), STRING_SIZES):
        value = json.dumps(piece * (size // len(piece)), ensure_ascii=False).encode()
        if len(value) <= MAX_BYTES:
            yield f"{size:,} {name}", value
    for (name, item), size in itertools.product(ITEMS.items(), LIST_SIZES):
        piece = json.dumps(item).encode()
        if size * (len(piece) + 1) <= MAX_BYTES:
            yield f"{size:,} {name}", b"[" + b",".join([piece] * size) + b"]"
    for size in LIST_SIZES[:-1]:
        yield f"{size:,} fields", b"{" + b",".join(b'"f%d":1' % number for number in range(size)) + b"}"
        yield f"{size:,} digits", b"1" * size
    for depth in DEPTHS:
        yield f"{depth:,} lists in each other", b"[" * depth + b"]" * depth
        yield f"{depth:,} objects in each other", b'{"a":' * depth + b"1" + b"}" * depth


@pytest.fixture(scope="module")
def server(tiny_qwen3: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[attacks.Server]:
    """With an index called `attacked`."""
    started = attacks.Server(str(tiny_qwen3), tmp_path_factory.mktemp("indexes"), MEMORY)
    try:
        started.fill_index()
        yield started
    finally:
        started.close()


def fields(server: attacks.Server, *, foreign: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """Every field of every POST route: its path, its name, a good body that has it or not.

    `foreign` are names that a route knows of other servers, or of nobody.
    """
    document = httpx.get(f"{server.url}/openapi.json").json()
    found = []
    for path, methods in sorted(document["paths"].items()):
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema")
        if schema is None:
            continue
        example = schema["examples"][0] if schema.get("examples") else {}
        if foreign:
            others = () if path.startswith("/v1/indexes") else (*OTHER_NAMES, *ONLY, "metadata", "unheard_of")
            found += [(path, name, example) for name in others if name not in schema["properties"]]
            continue
        names = schema["properties"]
        found += [(path.replace("{name}", "attacked"), name, example) for name in names]
        found.append((path.replace("{name}", "attacked"), "", example))  # the whole body
    assert len({path for path, _, _ in found}) > 15
    return found


def body_with(name: str, value: bytes, example: dict[str, Any]) -> bytes:
    if not name:
        return value
    return json.dumps({**example, name: "@@"}).encode().replace(b'"@@"', value)


SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.mark.parametrize("part", ["some", pytest.param("all", marks=SLOW), pytest.param("foreign", marks=SLOW)])
def test_no_size_of_any_field_fails_stops_or_bloats_the_server(server: attacks.Server, part: str) -> None:
    own = [] if part == "foreign" else fields(server, foreign=False)
    others = [] if part == "all" else fields(server, foreign=True)
    combinations = list(itertools.product([*own, *others], values()))
    chance = random.Random(SEED)
    chosen = chance.sample(combinations, NUM_BY_DEFAULT) if part == "some" else combinations
    target, failures, ended = attacks.Target(server.address), [], threading.Event()
    peak, sent = (0, ""), [(0.0, "nothing")]

    def watch_memory() -> None:
        nonlocal peak
        while not ended.wait(0.02):
            peak = max(peak, (attacks.resident_bytes(server.process.pid), sent[-1][1]))

    memory = threading.Thread(target=watch_memory)
    memory.start()
    try:
        with attacks.watched(server.url) as seen:
            for (path, name, example), (kind, value) in chosen:
                started = time.monotonic()
                sent.append((started, f"{path} {name} {kind}"))
                headers = {"x-request-timeout-ms": "3000"}
                status = target.post(path, body_with(name, value, example), **headers)
                if status in (0, 500, 502, 503) or time.monotonic() - started > 20:
                    failures.append((path, name, kind, status, round(time.monotonic() - started, 1)))
    finally:
        ended.set()
        memory.join()
    at_gap = [label for started, label in sent if started <= seen["health_at_s"] + seen["health_ms"] / 1000][-3:]
    print(f"{len(chosen):,} requests: longest gap {seen['health_ms']:.0f} ms, at one of {at_gap};")
    print(f"most memory {peak[0] / 2**20:,.0f} MiB, at {peak[1]}")
    assert server.process.poll() is None
    assert not failures
    assert (seen["wrong"], seen["failed"], len(seen["spaces"])) == (0, 0, 1), seen
    assert peak[0] <= MEMORY_BYTES
    assert seen["health_ms"] < LONGEST_GAP_MS
