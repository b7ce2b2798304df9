"""Splits documents in a process that can be ended, since a hostile text keeps a parser busy for minutes.

In: a document's text, and a function that counts the tokens of its pieces. Out: the pieces with their places, or the
reason why there are none: the text nests too deep, or took too much time or memory. Tokens are counted in this process,
where the model is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from farthing.core.errors import ServingError
from farthing.toolkit.documents.splitting.counted_pieces import Sizes
from farthing.toolkit.documents.splitting.split_child import COUNT, NESTED, PIECES, READY, limit_s

CountTokens = Callable[[str], int]

# The child is not started with -m, which would take modules from the working folder. It gets the paths of this process.
CHILD = "farthing.toolkit.documents.splitting.split_child"
START = f"import sys; sys.path[:] = sys.argv[1:-1]; from {CHILD} import main; main()"
# The kernel limits the time that the child computes. A child that does not even compute is given up after so many times
# that limit.
PATIENCE = 10.0
POLL_S, START_S = 0.1, 60.0
# The most characters whose tokens are counted for one document: for each of its own characters, and in any case. Usual
# documents need up to 40 for each.
COUNTED_PER_CHAR, COUNTED_ANYWAY = 100, 2_000_000


class TooComplexError(Exception):
    """A text cannot be split at its structure; the message says why, in words that follow "since"."""


class SplitProcess:
    """A process for one thread at a time, started when it is first needed, and again after it had to be ended.

    Args:
        on_step: called often while a document is split; an error that it raises ends the splitting.
    """

    def __init__(self, on_step: Callable[[], object] = lambda: None) -> None:
        self._on_step = on_step
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def pieces(self, kind: str, text: str, sizes: Sizes, count_tokens: CountTokens) -> list[tuple[int, str]]:
        """The pieces of a text, each with the place of its first character.

        Raises:
            TooComplexError: the text cannot be split at its structure in reasonable time.
            ServingError: no process could be started.

        It also raises what `on_step` and `count_tokens` raise.
        """
        pipe = self._opened()
        try:
            found = self._asked(pipe, kind, text, sizes, count_tokens)
        except (EOFError, OSError):
            self.close()
            raise TooComplexError("its structure takes too much time or memory to find") from None
        except BaseException:
            self.close()  # the process is in the middle of something
            raise
        if found is None:
            raise TooComplexError("it nests too deep")
        return found

    def _asked(
        self, pipe: Connection, kind: str, text: str, sizes: Sizes, count_tokens: CountTokens
    ) -> list[tuple[int, str]] | None:
        """The pieces of a text that the process finds; None for a text that nests too deep."""
        pipe.send_bytes(json.dumps([kind, *sizes]).encode())
        pipe.send_bytes(text.encode())
        num_counted, most_counted = 0, COUNTED_ANYWAY + COUNTED_PER_CHAR * len(text)
        while True:
            answer = self._received(pipe, PATIENCE * limit_s(len(text)))
            tag, content = answer[:1], answer[1:]
            if tag == COUNT:
                num_counted += len(content)
                if num_counted > most_counted:
                    raise TooComplexError("its structure has too many parts")
                pipe.send_bytes(json.dumps([count_tokens(piece) for piece in json.loads(content)]).encode())
            elif tag == PIECES:
                return [(start, text[start : start + length]) for start, length in json.loads(content)]
            else:
                assert tag == NESTED
                return None

    def _received(self, pipe: Connection, patience_s: float) -> bytes:
        """The next message of the child. Raises `EOFError` when the child has ended, or does nothing."""
        latest = time.monotonic() + patience_s
        while True:
            self._on_step()
            if pipe.poll(POLL_S):
                return pipe.recv_bytes()
            if time.monotonic() > latest:
                raise EOFError

    def _opened(self) -> Connection:
        if self._pipe is None:
            self._pipe, theirs = Pipe()
            try:
                with theirs:
                    descriptor = theirs.fileno()
                    self._child = subprocess.Popen(
                        [sys.executable, "-I", "-c", START, *sys.path, str(descriptor)],
                        pass_fds=[descriptor],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                    )
                ready = self._received(self._pipe, START_S)
            except (EOFError, OSError) as error:
                status = None if self._child is None else self._child.poll()
                self.close()
                raise ServingError(
                    f"The process that splits long documents could not be started (status {status}): {error}. See "
                    "whether memory and the number of processes are limited."
                ) from error
            assert ready == READY
        return self._pipe

    def close(self) -> None:
        """End the process, which is started again when it is needed."""
        child, pipe = self._child, self._pipe
        self._child = self._pipe = None
        if pipe is not None:
            pipe.close()
        if child is not None:
            child.kill()
            child.wait()
