"""What hostile requests do to everybody else: how long the server stands still, what it holds, what others get.

python benchmarks/attacks.py MODEL [--memory 1GB] [--format int8] [--only NAME]... [--stop]

Starts `farthing serve MODEL` with a folder of indexes and sends it, one after the other, requests that are made to cost
more than they should (`ATTACKS`). Meanwhile a process of its own asks GET /health every 10 ms and sends a short text
every 50 ms, whose vector it knows. A row an attack: the statuses it got and when, the longest that /health took, the
longest that the short text took, how many of those were refused or wrong, the most memory of the server and its
children. With `--stop` each attack gets a server of its own, which is told to stop (SIGTERM) while it is under way; the
column says after how many seconds it has ended. One table and one JSON line; the exit status is 1 when an answer was a
5xx, a short text got a wrong vector, or the server died.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MAIN = "from farthing.cli.main import main; main()"
PROBE_INTERVAL_S, TEXT_INTERVAL_S = 0.01, 0.05
KNOWN_TEXT = "The wren is the smallest bird."
LEAST_COSINE = 0.999
ATTACK_LIMIT_S = 60.0
DRAIN_S = 2
SETTLE_S = 0.5


# --- requests ---------------------------------------------------------------------------------------------------------


@dataclass
class Target:
    """The server under attack, and the statuses that attackers got."""

    address: tuple[str, int]
    statuses: list[int] = field(default_factory=list)

    def post(self, path: str, body: object, **headers: str) -> int:
        """The status; 0 where the connection was closed without one."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        with socket.create_connection(self.address, timeout=ATTACK_LIMIT_S) as connection:
            status = 0
            try:
                connection.sendall(head(path, len(content), headers) + content)
                status = read_status(connection)
            except OSError:
                pass  # closed: what it had said before is not read any more
        self.statuses.append(status)
        return status

    def post_and_leave(self, path: str, body: object, seconds: float) -> None:
        """Hang up so long after the request was sent."""
        content = json.dumps(body).encode()
        with socket.create_connection(self.address, timeout=ATTACK_LIMIT_S) as connection:
            try:
                connection.sendall(head(path, len(content), {}) + content)
            except OSError:
                return
            time.sleep(seconds)

    def together(self, calls: Sequence[Callable[[], object]]) -> None:
        def ignoring_errors(call: Callable[[], object]) -> None:
            with suppress(OSError):  # of a server that stops, or hangs up
                call()

        threads = [threading.Thread(target=ignoring_errors, args=[call], daemon=True) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(ATTACK_LIMIT_S)


def head(path: str, length: int, headers: dict[str, str]) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {length}", "connection: close"]
    lines += ["content-type: application/json"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


def read_status(connection: socket.socket) -> int:
    """Reads the answer to its end."""
    first = connection.recv(65536)
    while connection.recv(2**20):
        pass
    return int(first.split()[1]) if first.startswith(b"HTTP/1.1 ") else 0


# --- the attacks ------------------------------------------------------------------------------------------------------

DOCUMENTS = "/v1/indexes/attacked/documents"
SEARCH = "/v1/indexes/attacked/search"
WORDS = "word " * 199_999


def embed(**fields: object) -> Callable[[Target], None]:
    return lambda target: void(target.post("/v1/embeddings", fields))


def document(**fields: object) -> Callable[[Target], None]:
    return lambda target: void(target.post(DOCUMENTS, {"documents": [{"id": "attack", **fields}]}))


def search(**fields: object) -> Callable[[Target], None]:
    return lambda target: void(target.post(SEARCH, fields))


def raw(path: str, body: bytes) -> Callable[[Target], None]:
    return lambda target: void(target.post(path, body))


def void(_: object) -> None:
    """For lambdas."""


def unfinished_bodies(target: Target, count: int = 30, num_bytes: int = 15_000_000) -> None:
    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(target.address, timeout=0.5))
            try:
                connection.sendall(head("/v1/embeddings", num_bytes + 1, {}) + b'{"input":"' + b"x" * (num_bytes - 10))
            except OSError:  # it is not read any more
                continue
        time.sleep(3)


def unread_answers(target: Target, count: int = 60) -> None:
    body = json.dumps({"input": [f"t{number % 64}" for number in range(8192)]}).encode()
    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(target.address)
            connection.sendall(head("/v1/embeddings", len(body), {}) + body)
        time.sleep(8)


def blank_lines(target: Target, count: int = 200) -> None:
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(target.address, timeout=5)).sendall(b"\r\n")
        time.sleep(3)


def abandoned_searches(target: Target, count: int = 42) -> None:
    body = {"query": "zebra " + " ".join(f"w{number}" for number in range(1500)), "k": 1000, "mode": "keyword"}
    target.together([lambda: target.post_and_leave(SEARCH, body, 1.0)] * count)


def many_long_texts(target: Target, clients: int = 2, texts: int = 15) -> None:
    body = json.dumps({"input": [WORDS] * texts, "truncate": True}).encode()
    target.together([lambda: target.post("/v1/embeddings", body)] * clients)


def packed(body: bytes, clients: int = 1) -> Callable[[Target], None]:
    """The body compressed as one, from so many clients at once."""
    content = gzip.compress(body, mtime=0)
    return lambda target: target.together(
        [lambda: target.post("/v1/embeddings", content, **{"content-encoding": "gzip"})] * clients
    )


def empty_blocks(target: Target) -> None:
    """Compressed data of millions of blocks that hold nothing."""
    target.post("/v1/embeddings", b"\x78\x9c" + b"\x00\x00\x00\xff\xff" * 3_000_000, **{"content-encoding": "deflate"})


def offers(target: Target, count: int = 2000) -> None:
    """Requests one behind the other, each of which offers another protocol."""
    body = b'{"input":"x"}'
    lines = b"host: localhost\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: %d\r\n" % len(body)
    with socket.create_connection(target.address, timeout=ATTACK_LIMIT_S) as connection, suppress(OSError):
        connection.sendall((b"POST /v1/embeddings HTTP/1.1\r\n" + lines + b"\r\n" + body) * count)
        time.sleep(3)


def pipelined(target: Target, count: int = 300_000) -> None:
    """As many requests as the server takes before it has answered, from one client that reads the answers."""
    request = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with socket.create_connection(target.address, timeout=ATTACK_LIMIT_S) as connection:

        def read_all() -> None:
            with suppress(OSError):  # reset: the end, as good as any
                deque(iter(lambda: connection.recv(2**20), b""), maxlen=0)

        reader = threading.Thread(target=read_all)
        with suppress(OSError):
            reader.start()
            connection.settimeout(5)
            connection.sendall(request * count)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        reader.join()


def guessed_keys(target: Target, count: int = 200) -> None:
    for number in range(count):
        target.post("/v1/embeddings", {"input": "x"}, authorization=f"Bearer guess-{number}")


ATTACKS: dict[str, Callable[[Target], None]] = {
    "joiners between letters": embed(input="é" + "\u200d" * 40_000 + "é"),
    "a million joiners": embed(input="é" + "\u200d" * 999_000 + "é"),
    "joiners and letters in turn": embed(input="é\u200dx" * 333_000),
    "blanks without width": embed(input="é" + "\u200b" * 999_000),
    "joiners in a document to rank": lambda target: void(
        target.post("/v1/rerank", {"query": "é" + "\u200d" * 400_000, "documents": ["é" + "\u200d" * 400_000]})
    ),
    "a prompt before 500 texts": embed(input=[f"x{n}" for n in range(500)], prompt="word " * 40_000, truncate=True),
    "a prompt before 2,000 texts": embed(input=[f"x{n}" for n in range(2000)], prompt="word " * 180_000, truncate=True),
    "a long instruction": embed(input=["x"] * 500, instruction="word " * 180_000),
    "15 texts of a million characters": embed(input=[WORDS] * 15, truncate=True),
    "two clients of 15 such texts": many_long_texts,
    "words of a million letters": embed(input=["x" * 999_999] * 15, truncate=True),
    "words of a million Chinese letters": embed(input=["中" * 999_999] * 5, truncate=True),
    "emoji": embed(input=["😀" * 999_999] * 3, truncate=True),
    "blanks": embed(input=[" " * 999_999] * 15, truncate=True),
    "8,192 texts": embed(input=[f"text number {n}" for n in range(8192)]),
    "token ids": embed(input=[[7] * 40 for n in range(8192)]),
    "5 million token ids": raw("/v1/embeddings", b'{"input":[' + b"1," * 5_000_000 + b"1]}"),
    "5 million texts of a letter": raw("/v1/embeddings", b'{"input":[' + b'"",' * 5_000_000 + b'""]}'),
    "5 million lists": raw("/v1/embeddings", b'{"input":[' + b"[]," * 5_000_000 + b"[]]}"),
    "5 million objects": raw("/v1/embeddings", b'{"input":[' + b"{}," * 5_000_000 + b"{}]}"),
    "399,000 lists": raw("/v1/embeddings", b'{"input":[' + b"[]," * 199_000 + b"[]]}"),
    "escapes": raw("/v1/embeddings", b'{"input":"' + b"\\n" * 8_000_000 + b'"}'),
    "deep lists": raw("/v1/embeddings", b'{"input":' + b"[" * 8_000_000),
    "a name of 15 MB": raw("/v1/embeddings", b'{"' + b"x" * 15_000_000 + b'":1}'),
    "a model of 15 MB": embed(input="x", model="m" * 15_000_000),
    "a prompt's name of 15 MB": embed(input="x", prompt_name="p" * 15_000_000),
    "/tokenize, 6 MB": lambda target: void(target.post("/tokenize", {"inputs": ["a " * 3000] * 1000})),
    "/tokenize, 15 MB": lambda target: void(target.post("/tokenize", {"inputs": ["a " * 7500] * 1000})),
    "/tokenize by two": lambda target: target.together(
        [lambda: target.post("/tokenize", {"inputs": ["a " * 1500] * 1000})] * 2
    ),
    "/embed_all": lambda target: void(target.post("/embed_all", {"inputs": ["a " * 250] * 8192, "truncate": True})),
    "/decode": lambda target: void(target.post("/decode", {"ids": [[101] * 300] * 1000})),
    "all number types of Cohere's": lambda target: void(
        target.post(
            "/v2/embed",
            {
                "texts": ["x"] * 8192,
                "input_type": "classification",
                "embedding_types": ["float", "int8", "uint8", "binary", "ubinary", "base64"],
            },
        )
    ),
    "a heading of 2,000 blanks": document(kind="markdown", text="# a" + " " * 2000 + "b\n\ntext"),
    "a heading of 8,000 blanks": document(kind="markdown", text="# a" + " " * 8000 + "b\n\ntext"),
    "a heading of 4,000 signs": document(kind="markdown", text="# a " + "#" * 4000 + "b"),
    "nested JavaScript": document(kind="javascript", text="[" * 100_000 + "]" * 100_000),
    "nested C++": document(kind="cpp", text="A<" * 50_000 + "int" + ">" * 50_000),
    "nested Python": document(kind="python", text="(" * 30_000 + ")" * 30_000),
    "nested Markdown": document(kind="markdown", text="\n".join(" " * n + "- a" for n in range(1500))),
    "quotes in Markdown": document(kind="markdown", text=">" * 50_000 + " a"),
    "a document of 5 MB": document(text="The quick brown fox. " * 250_000),
    "a source of 2 MB": document(text=("The quick brown fox jumps. " * 40 + "\n\n") * 300, source="s" * 2_000_000),
    "a title of 10 MB": document(text="x", title="word " * 2_000_000),
    "metadata of 10 MB": document(text="x", metadata={"m": "word " * 2_000_000}),
    "metadata of 100,000 fields": document(text="x", metadata={f"f{n}": n for n in range(100_000)}),
    "60,000 hiragana in a document": document(text="あ" * 60_000),
    "60,000 hiragana in a query": search(query="あ" * 60_000, mode="keyword"),
    "a query of 100,000 words": search(query=" ".join(f"w{n}" for n in range(100_000)), k=1000, mode="keyword"),
    "a query of 1,500 words": search(query=" ".join(f"w{n}" for n in range(1500)), k=1000, mode="keyword"),
    "abandoned searches": abandoned_searches,
    "50,000 conditions": search(query="x", mode="keyword", where=["a=1"] * 50_000),
    "a condition of blanks": search(query="x", mode="keyword", where=["year = b" + " " * 32_000 + "c"]),
    "a condition of blanks alone": search(query="x", mode="keyword", where=[" " * 16_000]),
    "a number of 5,000 digits": search(query="x", mode="keyword", where=["year = " + "1" * 5000]),
    "an infinite number": search(query="x", mode="keyword", where=["year < 1e999"]),
    "5 million ids": raw(f"{DOCUMENTS}/delete", b'{"ids":[' + b"1," * 5_000_000 + b"1]}"),
    "190,000 ids of the wrong type": raw(f"{DOCUMENTS}/delete", b'{"ids":[' + b"1," * 190_000 + b"1]}"),
    "100,000 documents without text": raw(DOCUMENTS, b'{"documents":[' + b"{}," * 100_000 + b"{}]}"),
    "190,000 conditions of the wrong type": raw(SEARCH, b'{"query":"x","where":[' + b"1," * 190_000 + b"1]}"),
    "a body of 16 KB that unpacks to 16 MB": packed(b" " * 16_000_000),
    "60 such bodies": packed(b" " * 16_000_000, 60),
    "a body that unpacks to a GB": packed(b" " * 10**9),
    "5 million lists, packed": packed(b'{"input":[' + b"[]," * 5_000_000 + b"[]]}"),
    "empty blocks, packed": empty_blocks,
    "2,000 offers of another protocol": offers,
    "300,000 requests at once": pipelined,
    "as many on each of 20 connections": lambda target: target.together([lambda: pipelined(target)] * 20),
    "190,000 unknown fields": raw("/v1/embeddings", json.dumps({f"f{n}": n for n in range(190_000)}).encode()),
    "60 fields that are nearly ours": embed(input="x", **{f"{'dimension' * 7}{n}": n for n in range(60)}),
    "30 bodies that do not end": unfinished_bodies,
    "60 answers that nobody reads": unread_answers,
    "200 connections with a blank line": blank_lines,
    "guessed keys": guessed_keys,
}


# --- the others -------------------------------------------------------------------------------------------------------


def probe(url: str) -> None:
    """Until the input ends: ask for /health and for a vector again and again; print what was seen as JSON."""
    with suppress(PermissionError):  # who may, measures the server and not what else keeps the processor busy
        os.nice(-10)
    parts, stop = urlsplit(url), threading.Event()
    assert parts.hostname is not None
    assert parts.port is not None
    address = parts.hostname, parts.port
    health_s: list[float] = []
    asked_at: list[float] = []
    text_s: list[float] = []
    found: dict[str, Any] = {"refused": 0, "wrong": 0, "failed": 0, "spaces": []}

    def watch_health() -> None:
        request = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
        with Session(address) as session:
            while not stop.is_set():
                started = time.monotonic()
                session.ask(request)
                asked_at.append(started)
                health_s.append(time.monotonic() - started)
                stop.wait(PROBE_INTERVAL_S)

    def watch_vector() -> None:
        known: list[float] = []
        body = json.dumps({"input": KNOWN_TEXT}).encode()
        request = head("/v1/embeddings", len(body), {}).replace(b"connection: close\r\n", b"") + body
        with Session(address) as session:
            while not stop.is_set():
                started = time.monotonic()
                status, headers, content = session.ask(request)
                text_s.append(time.monotonic() - started)
                if status == 200:
                    vector = json.loads(content)["data"][0]["embedding"]
                    known = known or vector
                    cosine = sum(a * b for a, b in zip(known, vector, strict=True))
                    found["wrong"] += cosine < LEAST_COSINE
                    if headers["x-farthing-space"] not in found["spaces"]:
                        found["spaces"].append(headers["x-farthing-space"])
                else:
                    found["refused" if status in (429, 503) else "failed"] += 1
                stop.wait(TEXT_INTERVAL_S)

    threads = [threading.Thread(target=watch) for watch in (watch_health, watch_vector)]
    for thread in threads:
        thread.start()
    print("watching", flush=True)
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    worst = health_s.index(max(health_s))
    found |= {"health_ms": 1000 * health_s[worst], "health_p50_ms": 1000 * statistics.median(health_s)}
    found["health_at_s"] = asked_at[worst]  # by the clock of all processes of the machine
    print(json.dumps({**found, "text_ms": 1000 * max(text_s), "texts": len(text_s)}), flush=True)


def harass(url: str, num_attackers: int, seconds: float) -> None:
    """Attacks by several attackers at once, for so long, each attack once before any comes again; prints by attack what
    they got, as JSON."""
    parts, end = urlsplit(url), time.monotonic() + seconds
    assert parts.hostname is not None
    assert parts.port is not None
    address = parts.hostname, parts.port
    Target(address).post("/v1/indexes", {"name": "attacked"})
    found: dict[str, list[int]] = {}
    source, left, lock = random.Random(0), list[str](), threading.Lock()

    def next_name() -> str:
        with lock:
            if not left:
                left.extend(source.sample(list(ATTACKS), len(ATTACKS)))
            return left.pop()

    def attack() -> None:
        while time.monotonic() < end:
            name, target = next_name(), Target(address)
            ignoring_errors(ATTACKS[name])(target)
            found.setdefault(name, []).extend(target.statuses)

    threads = [threading.Thread(target=attack, daemon=True) for _ in range(num_attackers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()) + ATTACK_LIMIT_S)
    print(json.dumps({name: counted(statuses) for name, statuses in sorted(found.items())}), flush=True)
    os._exit(0)  # whatever an attacker still waits for


class Session:
    """A connection that is kept, and opened again when it is closed."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address, self._socket = address, None

    _socket: socket.socket | None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; status 0 where there is no answer."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, timeout=ATTACK_LIMIT_S)
            self._socket.sendall(request)
            received = b""
            while b"\r\n\r\n" not in received:
                received += self._more()
            top, _, body = received.partition(b"\r\n\r\n")
            first, *lines = top.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            while len(body) < int(headers["content-length"]):
                body += self._more()
        except OSError:
            self._close()
            return 0, {}, b""
        if headers.get("connection") == "close":
            self._close()
        return int(first.split()[1]), headers, body

    def _more(self) -> bytes:
        assert self._socket is not None
        chunk = self._socket.recv(2**16)
        if not chunk:
            raise ConnectionResetError
        return chunk

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@contextmanager
def watched(url: str) -> Iterator[dict[str, Any]]:
    """What a process of its own sees of the server; filled in at the end."""
    command = [sys.executable, __file__, "--probe", url]
    found: dict[str, Any] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(SETTLE_S)
        try:
            yield found
            time.sleep(SETTLE_S)
        finally:
            process.stdin.close()
            line = process.stdout.readline()
            found |= json.loads(line) if line else {}


class Server:
    """`farthing serve` as a process, with an index of some passages."""

    def __init__(self, model: str, folder: Path, memory: str, form: str = "auto") -> None:
        flags = ["--port", "0", "--log-level", "error", "--index-folder", str(folder), "--memory", memory]
        flags += ["--drain-timeout-s", str(DRAIN_S), "--format", form]
        command = [sys.executable, "-c", MAIN, "serve", model, *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = next(line for line in self.process.stdout if line.startswith("Listening on ")).split()[2].rstrip(",")
        next(line for line in self.process.stdout if line.strip().startswith("try"))
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.address = parts.hostname, parts.port

    def fill_index(self) -> None:
        target = Target(self.address)
        target.post("/v1/indexes", {"name": "attacked"})
        text = "zebra " * 200
        documents = [{"id": f"d{number}", "text": f"{text}{number}"} for number in range(300)]
        target.post(DOCUMENTS, {"documents": documents})
        assert target.statuses == [200, 200], target.statuses

    def attack(self, name: str) -> dict[str, Any]:
        """A row: what the attackers got, what others saw, what the server held."""
        target, peak, ended = Target(self.address), [0], threading.Event()

        def watch_memory() -> None:
            while not ended.wait(0.05):
                peak[0] = max(peak[0], resident_bytes(self.process.pid))

        memory = threading.Thread(target=watch_memory)
        memory.start()
        started, stolen = time.monotonic(), stolen_s()
        try:
            with watched(self.url) as row:
                ATTACKS[name](target)
                seconds = time.monotonic() - started - SETTLE_S
        finally:
            ended.set()
            memory.join()
        row |= {"seconds": seconds, "statuses": counted(target.statuses), "peak_mib": peak[0] / 2**20}
        row["stolen_ms"] = 1000 * (stolen_s() - stolen)
        row["died"] = self.process.poll() is not None
        return row

    def attack_and_stop(self, name: str) -> float:
        """Seconds from SIGTERM in the middle of an attack to the end of the process."""
        attacker = threading.Thread(target=ignoring_errors(ATTACKS[name]), args=(Target(self.address),), daemon=True)
        attacker.start()
        attacker.join(1.0)
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(ATTACK_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
        return time.monotonic() - started

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def ignoring_errors(attack: Callable[[Target], None]) -> Callable[[Target], None]:
    """For attackers of a server that stops under them."""

    def run(target: Target) -> None:
        try:
            attack(target)
        except OSError:
            return

    return run


def counted(statuses: Sequence[int]) -> str:
    """As `3 x 200, 1 x 413`; `closed` stands for no status."""
    kinds = sorted(set(statuses))
    return ", ".join(f"{statuses.count(kind)} x {kind or 'closed'}" for kind in kinds) or "-"


def resident_bytes(pid: int) -> int:
    """Of a process and its children; mapped files are counted once each."""
    total = 0
    try:
        total += read_rss(pid)
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                total += resident_bytes(int(child))
    except (OSError, ValueError):
        pass  # it has ended meanwhile
    return total


def read_rss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)


def is_bad(row: dict[str, Any]) -> bool:
    """Whether somebody got what nobody should."""
    has_5xx = any(part.split(" x ")[1].startswith("5") for part in row["statuses"].split(", ") if " x " in part)
    return bool(row["died"] or row["wrong"] or row["failed"] or has_5xx or len(row["spaces"]) > 1)


def stolen_s() -> float:
    """Seconds that the host has given to others while this machine had work, of all processors."""
    with suppress(OSError, IndexError):
        return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) / os.sysconf("SC_CLK_TCK")
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--format", default="auto")
    parser.add_argument("--only", action="append", help="An attack by its name; may be given several times.")
    parser.add_argument("--stop", action="store_true", help="Stop a server in the middle of each attack too.")
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    parser.add_argument("--harass", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        probe(options.probe)
        return
    if options.harass:
        harass(options.harass[0], int(options.harass[1]), float(options.harass[2]))
    from report import facts, table

    names = options.only or list(ATTACKS)
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.model, Path(folder) / "all", options.memory, options.format)
        try:
            server.fill_index()
            for name in names:
                rows[name] = row = server.attack(name)
                print(name, {key: round(value, 1) if isinstance(value, float) else value for key, value in row.items()},
                      file=sys.stderr, flush=True)  # fmt: skip
                if row["died"]:
                    server = Server(options.model, Path(folder) / "all", options.memory, options.format)
        finally:
            server.close()
        if options.stop:
            for number, name in enumerate(names):
                server = Server(options.model, Path(folder) / f"stop-{number}", options.memory, options.format)
                try:
                    server.fill_index()
                    rows[name]["stop_s"] = server.attack_and_stop(name)
                    print(f"{name} stopped in {rows[name]['stop_s']:.1f} s", file=sys.stderr, flush=True)
                finally:
                    server.close()
    print(table(
        ["attack", "answered", "s", "/health ms", "text ms", "refused", "wrong", "peak MiB", "stolen ms",
         "stopped in s"],
        [
            [name, row["statuses"], f"{row['seconds']:.1f}", f"{row['health_ms']:.0f}", f"{row['text_ms']:.0f}",
             f"{row['refused']} of {row['texts']}", str(row["wrong"] + row["failed"]), f"{row['peak_mib']:.0f}",
             f"{row['stolen_ms']:.0f}", f"{row['stop_s']:.1f}" if "stop_s" in row else "-"]
            for name, row in rows.items()
        ],
    ))  # fmt: skip
    print(json.dumps({**facts(["uvicorn", "fastapi"]), "memory": options.memory, "attacks": rows}))
    sys.exit(any(map(is_bad, rows.values())))


if __name__ == "__main__":
    main()
