"""The process that splits documents. Parsers run in it, since some texts keep them busy for minutes.

`split_process` starts it. It is small: it imports nothing that a model needs. In: a document and the sizes of its
pieces, over a pipe. Out: requests for numbers of tokens, which the parent answers, and at the end the places of the
pieces. It ends when its parent closes the pipe. A kernel timer also ends it when a document takes too much processor
time, whatever it is doing then.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection

from farthing.toolkit.documents.splitting.counted_pieces import Sizes, counted_pieces
from farthing.toolkit.documents.splitting.structure import is_nested_deeply

MAX_MEMORY_BYTES = 128 * 1024**2  # of this process; a document that needs more is split as plain text
BASE_S, CHARS_PER_S = 1.0, 100_000
# Characters of the texts in one request; more texts are sent in several requests.
ASKED_CHARS = 200_000
READY, COUNT, PIECES, NESTED = b"r", b"c", b"p", b"n"


def limit_s(num_chars: int) -> float:
    """The seconds of processor time for a document: ten times what usual documents take, and more."""
    return BASE_S + num_chars / CHARS_PER_S


def main() -> None:
    # Ctrl-C is meant for the parent, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_memory()
    with Connection(int(sys.argv[-1])) as pipe:
        try:
            pipe.send_bytes(READY)
            while True:
                answer(pipe)
        except (EOFError, OSError):
            pass  # the parent is gone, or needs nothing more


def answer(pipe: Connection) -> None:
    """Split one document and send its pieces. Raises `EOFError` or `OSError` when the parent is gone."""
    header, text = pipe.recv_bytes(), pipe.recv_bytes().decode()
    kind, *sizes = json.loads(header)

    def count_each(texts: Sequence[str]) -> list[int]:
        found: list[int] = []
        for batch in batches(texts):
            pipe.send_bytes(COUNT + json.dumps(batch, ensure_ascii=False).encode())
            found += json.loads(pipe.recv_bytes())
        return found

    limit_time(limit_s(len(text)))
    if is_nested_deeply(kind, text):
        pipe.send_bytes(NESTED)
        return
    pieces = counted_pieces(kind, text, Sizes(*sizes), count_each)
    limit_time(0)
    pipe.send_bytes(PIECES + json.dumps([(start, len(piece)) for start, piece in pieces]).encode())


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """The same texts, in lists of about `ASKED_CHARS` characters."""
    batch: list[str] = []
    num_chars = 0
    for text in texts:
        batch.append(text)
        num_chars += len(text)
        if num_chars >= ASKED_CHARS:
            yield batch
            batch, num_chars = [], 0
    if batch:
        yield batch


def limit_memory() -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_DATA)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_time(seconds: float) -> None:
    """Have the kernel end this process after so many seconds of processor time; 0 takes the limit away."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)
