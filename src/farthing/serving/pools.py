"""Threads that clean and tokenise, so that short requests wait neither for bulk work nor for long texts.

In: a lane and a number of characters. Out: the pool for it. Each lane has threads for short slices of requests and
others for long ones; the operating system shares the processors among them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from farthing.serving.tokenizer import SHORT_CHARS
from farthing.serving.urgency import LANES, LaneName


class TokenizerPools:
    """`num_threads` each; a thread is started when it is first needed."""

    def __init__(self, num_threads: int) -> None:
        self._pools = {
            (lane, is_short): ThreadPoolExecutor(
                num_threads, thread_name_prefix=f"farthing-tokenizer-{lane}{'-short' if is_short else ''}"
            )
            for lane in LANES
            for is_short in (True, False)
        }

    def pool(self, lane: LaneName, num_chars: int) -> ThreadPoolExecutor:
        """For work on so many characters."""
        return self._pools[lane, num_chars <= SHORT_CHARS]

    def shutdown(self) -> None:
        """When all that was handed in is done."""
        for pool in self._pools.values():
            pool.shutdown()
