"""Many clients for a long time: is every request answered, are vectors right, does memory stay?

python benchmarks/load.py MODEL [--clients 200] [--minutes 5] [--seed 0] [--attackers 0] [-- FLAGS OF farthing serve]

Starts `farthing serve MODEL` and clients that send, over connections they keep, single texts, batches, long texts, bulk
work, broken requests, and requests they hang up on. Some texts come back often, others never. An answer counts as wrong
when its status is not one that the request can have, its vectors are not as many as its texts, or, for texts that were
embedded offline before, a cosine is under 0.9999. Memory is the server's resident set, read every second: by
minute its mean, and the least, which is what no request holds. Its growth is from the mean of the second minute to that
of the last. `--attackers` sends the requests of `benchmarks/attacks.py`
beside them, from a process of its own (those against indexes need --index-folder DIR among the flags). Tables and one
JSON line; exit status 1 when a request had no answer or a wrong one.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import collections
import json
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from front_speed import serving_process
from memory_matrix import status_bytes
from report import facts, table

KNOWN_TEXTS = 500
LEAST_COSINE = 0.9999
BUSY = (429, 503)  # allowed answers to any request: the server is full, and says so
BROKEN: tuple[tuple[bytes, tuple[int, ...]], ...] = (
    (b"", (400,)),
    (b"{", (400,)),
    (b"[1, 2]", (400,)),
    (b'{"input": []}', (400,)),
    (b'{"input": ""}', (400,)),
    (b'{"input": [1, "a"]}', (400,)),
    (b'{"input": "a", "model": "no such model"}', (404,)),
    (b'{"input": "a", "dimensions": 100000}', (400,)),
    (b'{"input": "a", "encoding": "base64"}', (400,)),
    (b'{"input": "\\ud800"}', (400,)),
    (b"\xff\xfe\x00", (400,)),
)


@dataclass
class Tally:
    """What happened, by kind of request."""

    answers: collections.Counter[tuple[str, int]] = field(default_factory=collections.Counter)
    unanswered: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: collections.defaultdict(list))
    num_checked: int = 0


class Client:
    def __init__(self, url: str, known: dict[str, np.ndarray], tally: Tally, seed: int) -> None:
        self.url, self.known, self.tally = url, known, tally
        self.random = random.Random(seed)
        self.known_texts = list(known)
        self.number = 0

    async def run(self, until: float) -> None:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=self.url, limits=limits, timeout=120) as session:
            while time.monotonic() < until:
                kind = self.random.choices(
                    ("single", "batch", "long", "bulk", "broken", "hang up"), (50, 25, 5, 5, 10, 5)
                )[0]
                started = time.monotonic()
                try:
                    await self.send(session, kind)
                except httpx.HTTPError as error:
                    self.tally.unanswered.append(f"{kind}: {error!r}")
                self.tally.seconds[kind].append(time.monotonic() - started)
                await asyncio.sleep(self.random.expovariate(20))

    async def send(self, session: httpx.AsyncClient, kind: str) -> None:
        if kind == "broken":
            content, allowed = self.random.choice(BROKEN)
            self.check(kind, await session.post("/v1/embeddings", content=content), allowed, [])
            return
        texts = self.texts(kind)
        body: dict[str, Any] = {"input": texts, "encoding_format": "base64", "truncate": True}
        headers = {"x-priority": "bulk"} if kind == "bulk" else {}
        if kind == "hang up":
            await self.hang_up(body)
        else:
            self.check(kind, await session.post("/v1/embeddings", json=body, headers=headers), (200,), texts)

    async def hang_up(self, body: dict[str, Any]) -> None:
        """On a connection of its own: httpx's pool now and then counts one that was hung up on as taken for good."""
        async with httpx.AsyncClient(base_url=self.url, verify=False, timeout=120) as session:
            request = session.post("/v1/embeddings", json=body)
            try:
                await asyncio.wait_for(request, self.random.uniform(0.001, 0.2))
            except TimeoutError:
                self.tally.answers["hang up", 499] += 1
            else:
                self.tally.answers["hang up", 200] += 1

    def texts(self, kind: str) -> list[str]:
        count = {"single": 1, "batch": self.random.randint(2, 32), "bulk": 100, "long": 2, "hang up": 8}[kind]
        return [self.text(kind) for _ in range(count)]

    def text(self, kind: str) -> str:
        if kind != "long" and self.random.random() < 0.5:
            return self.random.choice(self.known_texts)
        self.number += 1
        num_words = self.random.randint(300, 600) if kind == "long" else self.random.randint(1, 40)
        return f"{self.random.random()} {self.number} " + " ".join(self.random.choices(WORDS, k=num_words))

    def check(self, kind: str, answer: httpx.Response, allowed: tuple[int, ...], texts: list[str]) -> None:
        self.tally.answers[kind, answer.status_code] += 1
        if answer.status_code in BUSY and "retry-after" in answer.headers:
            return
        if answer.status_code not in allowed:
            self.tally.wrong.append(f"{kind}: status {answer.status_code}, {answer.text[:200]}")
        elif answer.status_code == 200:
            self.check_vectors(kind, answer, texts)

    def check_vectors(self, kind: str, answer: httpx.Response, texts: list[str]) -> None:
        data = answer.json()["data"]
        if [item["index"] for item in data] != list(range(len(texts))):
            self.tally.wrong.append(f"{kind}: {len(data)} vectors for {len(texts)} texts")
            return
        for text, item in zip(texts, data, strict=True):
            vector = np.frombuffer(base64.b64decode(item["embedding"]), dtype="<f4")
            wanted = self.known.get(text)
            if wanted is None:
                continue
            self.tally.num_checked += 1
            cosine = float(vector @ wanted)
            if not cosine >= LEAST_COSINE:
                self.tally.wrong.append(f"{kind}: cosine {cosine} of {text[:40]!r}")


# fmt: off
WORDS = [
    "the", "wren", "sings", "at", "dawn", "and", "nobody", "pays", "more", "than", "a", "farthing", "for", "it", "in",
    "market", "of", "old", "town", "where", "clerk", "reads", "questions", "answers", "about", "orders", "parcels",
]
# fmt: on


def offline(model: str) -> dict[str, np.ndarray]:
    """Texts with their vectors, computed in this process."""
    from farthing import Embedder

    source = random.Random(1)
    texts = [f"{number} " + " ".join(source.choices(WORDS, k=source.randint(1, 60))) for number in range(KNOWN_TEXTS)]
    with Embedder(model) as embedder:
        return dict(zip(texts, embedder.encode(texts), strict=True))


async def memory(pid: int, until: float, found: list[tuple[float, int]]) -> None:
    started = time.monotonic()
    while time.monotonic() < until:
        found.append((time.monotonic() - started, status_bytes(pid, "VmRSS")))
        await asyncio.sleep(1)


async def run(options: argparse.Namespace, url: str, pid: int, known: dict[str, np.ndarray]) -> dict[str, Any]:
    until = time.monotonic() + options.minutes * 60
    tally, resident = Tally(), list[tuple[float, int]]()
    clients = [Client(url, known, tally, options.seed + number) for number in range(options.clients)]
    attackers = None
    if options.attackers:
        script = Path(__file__).with_name("attacks.py")
        command = [str(script), "--harass", url, str(options.attackers), str(options.minutes * 60)]
        attackers = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    await asyncio.gather(memory(pid, until, resident), *(client.run(until) for client in clients))
    row = summary(tally, resident)
    if attackers is not None:
        row["attacks"] = json.loads((await attackers.communicate())[0])
        print(table(["attack", "answered"], [[name, got] for name, got in row["attacks"].items()]))
    return row


def summary(tally: Tally, resident: list[tuple[float, int]]) -> dict[str, Any]:
    last, by_minute = resident[-1][0], collections.defaultdict(list)
    for at, num in resident:
        by_minute[int(at // 60)].append(num)
    minutes_mib = [round(statistics.mean(nums) / 2**20, 1) for _, nums in sorted(by_minute.items())]
    least_mib = [round(min(nums) / 2**20, 1) for _, nums in sorted(by_minute.items())]
    first_mean = statistics.mean(num for at, num in resident if 60 <= at < 120 or last < 120)
    last_mean = statistics.mean(num for at, num in resident if at >= last - 60)
    rows = []
    for kind, seconds in sorted(tally.seconds.items()):
        statuses = {status: count for (name, status), count in sorted(tally.answers.items()) if name == kind}
        cuts = statistics.quantiles(seconds, n=100) if len(seconds) > 1 else seconds * 99
        shown = ", ".join(f"{count:,} x {status}" for status, count in statuses.items())
        rows.append([kind, f"{len(seconds):,}", shown, f"{cuts[49] * 1e3:,.0f}", f"{cuts[98] * 1e3:,.0f}"])
    print(table(["requests", "sent", "answered", "p50 ms", "p99 ms"], rows))
    found = {
        "sent": sum(map(len, tally.seconds.values())),
        "unanswered": len(tally.unanswered),
        "wrong": len(tally.wrong),
        "vectors_checked": tally.num_checked,
        "second_minute_mib": round(first_mean / 2**20, 1),
        "last_minute_mib": round(last_mean / 2**20, 1),
        "growth": round(last_mean / first_mean - 1, 4),
    }
    print(table(list(found), [[f"{value:,}" for value in found.values()]]))
    minutes = enumerate(zip(minutes_mib, least_mib, strict=True), 1)
    print(
        table(
            ["minute", "resident MiB", "least"], [[str(at), f"{mean:,}", f"{least:,}"] for at, (mean, least) in minutes]
        )
    )
    for line in (*tally.unanswered[:10], *tally.wrong[:10]):
        print(line)
    answers = {f"{kind} {status}": count for (kind, status), count in tally.answers.items()}
    return {**found, "resident_mib": minutes_mib, "least_mib": least_mib, "answers": answers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attackers", type=int, default=0)
    given = sys.argv[1:]
    middle = given.index("--") if "--" in given else len(given)  # argparse would take what follows for its own
    options = parser.parse_args(given[:middle])
    known = offline(options.model)
    with serving_process(options.model, *given[middle + 1 :]) as (url, pid):
        row = asyncio.run(run(options, url, pid, known))
    print(json.dumps({**facts(["uvicorn", "httpx"]), "clients": options.clients, "minutes": options.minutes, **row}))
    sys.exit(bool(row["unanswered"] or row["wrong"]))


if __name__ == "__main__":
    main()
