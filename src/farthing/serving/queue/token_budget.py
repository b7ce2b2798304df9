"""How many tokens a batch may have: as planned, fewer while memory is short, fewer after a batch ran out of memory.

In: ceilings from the governor, out-of-memory errors and successes from the worker. Out: the scheduler's limit. A batch
that runs out of memory halves the budget, which doubles again after a number of batches that do not.
"""

from __future__ import annotations

import logging
import threading

from farthing.serving.queue.scheduler import Scheduler

logger = logging.getLogger(__name__)

LEAST_TOKENS = 64
SUCCESSES_TO_DOUBLE = 64


class TokenBudget:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._lock = threading.Lock()
        self._ceiling = self._tokens = scheduler.max_tokens
        self._num_successes = 0

    @property
    def tokens(self) -> int:
        return self._tokens

    def set_ceiling(self, tokens: int) -> None:
        """Set the most tokens that a batch may have from now on; a budget that was halved finds its own way up."""
        with self._lock:
            was_full, self._ceiling = self._tokens == self._ceiling, tokens
            self._set(tokens if was_full else self._tokens)

    def halve(self, num_tokens: int) -> None:
        """Halve the budget after a batch of that many tokens ran out of memory."""
        with self._lock:
            self._set(max(LEAST_TOKENS, min(self._tokens, num_tokens) // 2))
            logger.warning("Batches have at most %d tokens from now on.", self._tokens)

    def note_success(self) -> None:
        """Note that a batch had enough memory."""
        if self._tokens == self._ceiling:
            return
        with self._lock:
            self._num_successes += 1
            if self._num_successes >= SUCCESSES_TO_DOUBLE:
                self._set(2 * self._tokens)
                logger.info("Batches have up to %d tokens again.", self._tokens)

    def _set(self, tokens: int) -> None:
        self._num_successes = 0
        self._tokens = min(tokens, self._ceiling)
        self._scheduler.limit_tokens(self._tokens)
