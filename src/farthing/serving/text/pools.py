"""Threads that clean and tokenise, so that short requests wait neither for bulk work nor for long texts.

In: a lane and numbers of characters. Out: the pool for this work. Each lane has threads for short slices of requests
and others for long slices; the operating system shares the processors among them. Huge texts go one after another: the
library may need a thousand times the memory of their characters.
"""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor

from farthing.serving.request import LANES, LaneName
from farthing.serving.text.tokenizer import SHORT_CHARS

HUGE_CHARS = 2**16
# Work on so few characters takes about as long as handing it to a thread and coming back, so it is done at once.
INLINE_CHARS = 2000


class TokenizerPools:
    """Pools of `num_threads` threads each; a thread is started when it is first needed."""

    def __init__(self, num_threads: int) -> None:
        self._pools = {
            (lane, is_short): ThreadPoolExecutor(
                num_threads, thread_name_prefix=f"farthing-tokenizer-{lane}{'-short' if is_short else ''}"
            )
            for lane in LANES
            for is_short in (True, False)
        }
        self._huge = ThreadPoolExecutor(1, thread_name_prefix="farthing-tokenizer-huge")

    def pool(self, lane: LaneName, num_chars: int, longest_chars: int) -> Executor:
        """The pool for work on `num_chars` characters, at most `longest_chars` of them in one text."""
        return self._huge if longest_chars > HUGE_CHARS else self._pools[lane, num_chars <= SHORT_CHARS]

    def shutdown(self) -> None:
        """Wait until all that was handed in is done, and end the threads."""
        for pool in (*self._pools.values(), self._huge):
            pool.shutdown()
