"""Who is told how long texts waited and batches ran, while it happens; counters that are read later are in
`farthing.serving.stats`.
"""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Called from the worker's thread, once a job's share and once a batch: it must be quick and must not raise."""

    def queue_wait_s(self, seconds: float) -> None:
        """A text was taken into a batch after so long."""
        ...

    def batch(self, num_texts: int, num_tokens: int, seconds: float) -> None:
        """A forward pass over so many texts and computed tokens ended well."""
        ...


class NoObserver:
    """Is told and does nothing."""

    def queue_wait_s(self, seconds: float) -> None:
        pass

    def batch(self, num_texts: int, num_tokens: int, seconds: float) -> None:
        pass
