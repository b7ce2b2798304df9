"""Texts on their way through the queue, and the rows that come back.

In: token ids. Out: a future. A job's texts may be computed in any order and in several batches; all its rows are of the
same weights.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from farthing.core.errors import FarthingError
from farthing.models.token_key import token_key


@dataclass(frozen=True)
class Rows:
    """
    Attributes:
        rows: float32 [texts, hidden], or ragged as in `BatchOutput`.
        fingerprint: of the weights that made all of them.
        num_computed_tokens: tokens computed for them; what texts of a batch share counts for one of them alone.
        queue_s: from when the job was made until its first batch began.
        compute_s: from then until its last batch ended.
    """

    rows: np.ndarray
    fingerprint: str
    num_computed_tokens: int
    queue_s: float = 0.0
    compute_s: float = 0.0


class Job:
    """Texts that were submitted together; `future` resolves to their rows.

    To make one takes time for every token (`keys`), which neither a lock nor an event loop should wait for.

    Attributes:
        keys: `token_key` of each text.
        per_token: a row of every token is wanted, and not one of every text.
    """

    def __init__(self, texts: Sequence[list[int]], *, per_token: bool = False) -> None:
        assert texts
        self.texts, self.per_token = texts, per_token
        self.keys = [token_key(text) for text in texts]
        self.future: Future[Rows] = Future()
        self._missing = set(range(len(texts)))
        self._computed = np.zeros(len(texts), dtype=np.int64)
        self._rows: np.ndarray | None = None
        self._fingerprint = ""
        self._made_s = time.perf_counter()
        self._begun_s: float | None = None

    def begin(self, now_s: float) -> None:
        """A batch with texts of this job begins, at a `time.perf_counter`; the first one counts."""
        if self._begun_s is None:
            self._begun_s = now_s

    def deliver(self, indices: Sequence[int], rows: np.ndarray, computed: Sequence[int], fingerprint: str) -> bool:
        """Rows of the texts `indices`, and the tokens computed for each; the last one missing resolves the future.

        False when rows of other weights came before: then the job has to begin again (`restart`).
        """
        if self._fingerprint not in ("", fingerprint):
            return False
        self._fingerprint = fingerprint
        if self._rows is None:
            self._rows = np.empty((len(self.texts), *rows.shape[1:]), dtype=rows.dtype)
        self._rows[list(indices)] = rows
        self._computed[list(indices)] = computed
        self._missing.difference_update(indices)
        if not self._missing:
            with suppress(InvalidStateError):  # cancelled or failed while this batch ran: nobody waits for it
                self.future.set_result(Rows(self._rows, fingerprint, int(self._computed.sum()), *self._times()))
        return True

    def _times(self) -> tuple[float, float]:
        """Seconds before and since the first batch began."""
        now_s = time.perf_counter()
        begun_s = now_s if self._begun_s is None else self._begun_s
        return begun_s - self._made_s, now_s - begun_s

    def restart(self) -> None:
        """Forget what was delivered."""
        self._missing = set(range(len(self.texts)))
        self._fingerprint = ""

    def fail(self, error: FarthingError) -> None:
        try:
            self.future.set_exception(error)
        except InvalidStateError:
            return  # already cancelled, failed or done: the caller has an answer
