"""How long one short query takes: in a process, over HTTP, and with ONNX Runtime's int8 and the same tokenizer.

    pip install -r benchmarks/requirements-peers.txt
    python benchmarks/short_query.py [--model starter] [--peer-model minilm] [--tokens 12] [--rounds 15] [--queries 100]

Each way has a process of its own, and they take turns, a round of queries each; every query is a text that never came
before, of as many tokens, special tokens included. A round's figure is the median of its queries, and the result the
median of the rounds. Tokenising, the forward pass, pooling and scaling to length 1 all count. Over HTTP one connection
asks Farthing's server, query by query, and reads the JSON of the answer.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

import numpy as np

from report import facts, json_line, table
from start_up import ENVIRONMENT, FARTHING, ONNX_SESSION, exported, free_port, is_ready

LOOP = """
import json, sys, time
for line in sys.stdin:
    taken = []
    for text in json.loads(line):
        started = time.perf_counter()
        vector = embed(text)
        taken.append(time.perf_counter() - started)
    print(json.dumps([taken, [float(number) for number in vector]]), flush=True)
"""
OURS = """
import sys
from farthing import Embedder
embedder = Embedder(sys.argv[1])
def embed(text):
    return embedder.encode([text])[0]
"""
PEER = f"""{ONNX_SESSION}
def embed(text):
    row = rows(text)[0]
    return row / np.linalg.norm(row)
"""
SETTLE_S = 0.3  # threads may spin for a while after their work


class Child:
    """A process that embeds the texts that it is sent, one by one."""

    def __init__(self, program: str, *arguments: str) -> None:
        command = [sys.executable, "-c", program + LOOP, *arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        )

    def __call__(self, texts: Sequence[str]) -> tuple[list[float], np.ndarray]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(list(texts)) + "\n")
        self._process.stdin.flush()
        taken, vector = json.loads(self._process.stdout.readline())
        return taken, np.array(vector)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


class Server:
    """`farthing serve`, asked over one connection."""

    def __init__(self, model: str) -> None:
        port = free_port()
        command = [*FARTHING, "serve", model, "--port", str(port), "--log-level", "warning"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
        while not is_ready(port):
            time.sleep(0.05)
        self._connection = http.client.HTTPConnection("127.0.0.1", port)

    def __call__(self, texts: Sequence[str]) -> tuple[list[float], np.ndarray]:
        taken = []
        for text in texts:
            body = json.dumps({"input": text})
            started = time.perf_counter()
            self._connection.request("POST", "/v1/embeddings", body, {"Content-Type": "application/json"})
            answer = json.loads(self._connection.getresponse().read())
            taken.append(time.perf_counter() - started)
        return taken, np.array(answer["data"][0]["embedding"])

    def close(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.wait()


def words_of(model: str) -> list[str]:
    """Words that the tokenizer has one token for."""
    from farthing.checkpoint.tokenizer_file import read_tokenizer
    from farthing.core.settings import SourceSettings
    from farthing.sources.find import find_model

    vocabulary = read_tokenizer(find_model(model, SourceSettings()).path).get_vocab()
    return sorted(word for word in vocabulary if word.isascii() and word.isalpha() and word.islower())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--peer-model", default="minilm", help="the model as benchmarks/cpu_peers.py calls it")
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--queries", type=int, default=100)
    options = parser.parse_args()
    about = facts(["farthing", "numpy", "tokenizers"])
    words, rng = words_of(options.model), np.random.default_rng()
    ways: dict[str, Child | Server] = {
        "Farthing int8": Child(OURS, options.model),
        "Farthing int8, over HTTP": Server(options.model),
    }
    if peer := exported(options.peer_model):
        ways["ONNX Runtime int8"] = Child(PEER, *peer, str(about["threads"]))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds + 1):
        texts = [" ".join(rng.choice(words, options.tokens - 2)) for _ in range(options.queries)]
        vectors = []
        for name, way in ways.items():
            time.sleep(SETTLE_S)
            taken, vector = way(texts)
            vectors.append(vector)
            if number:  # the first warms up
                seconds[name].append(median(taken))
        for vector in vectors:
            assert vector @ vectors[0] > 0.97, "the vectors are not of the same text"
    for way in ways.values():
        way.close()
    ours = median(seconds["Farthing int8"])
    rows = [
        [name, f"{1e3 * median(each):.3f}", f"{median(each) / ours:.2f}", f"{ours / median(each):.2f}"]
        for name, each in seconds.items()
    ]
    print(
        table([f"one text of {options.tokens} tokens", "median ms", "times Farthing in process", "Farthing / it"], rows)
    )
    print(json_line(about, seconds, model=options.model, tokens=options.tokens))


if __name__ == "__main__":
    main()
