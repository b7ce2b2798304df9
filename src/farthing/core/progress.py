"""How far something is that takes long: what is told while it is done, and bars on standard error.

The library that draws them is imported when the first one is drawn: that takes a tenth of the time in which a small
model is ready.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Protocol, TextIO, cast

# What is done now, in words; how much of it is done; and how much there is.
OnStep = Callable[[str, int, int], object]
SHOWN_AFTER_S = 1.0  # what is done at once gets no bar
BYTES_FROM = 10**6  # steps of which there are more are bytes


def untold(what: str, done: int, total: int) -> None:
    """Nobody wants to know."""


@contextmanager
def progress_bars(*, shown: bool | None = None) -> Iterator[OnStep]:
    """Give a function that draws a bar for each kind of step that takes long, and for those that follow it.

    Args:
        shown: draw bars; None to draw them on a terminal alone.
    """
    is_shown = sys.stderr.isatty() if shown is None else shown
    with ExitStack() as stack:
        begun: dict[str, float] = {}
        bars: dict[str, Bar] = {}

        def on_step(what: str, done: int, total: int) -> None:
            since = begun.setdefault(what, time.monotonic())
            if what not in bars and is_shown and (bars or time.monotonic() - since >= SHOWN_AFTER_S):
                bars[what] = step_bar(what, done, total)
                stack.callback(bars[what].close)
            if what in bars:
                bars[what].update(done - bars[what].n)

        yield on_step


def step_bar(what: str, done: int, total: int) -> Bar:
    is_bytes = total > BYTES_FROM
    unit = {"unit": "B", "unit_scale": True, "unit_divisor": 1024} if is_bytes else {"unit": ""}
    return progress_bar(total, shown=True, desc=what, initial=done, leave=False, dynamic_ncols=True, **unit)


class Bar(Protocol):
    """What is used of a bar of tqdm's.

    Attributes:
        n: how much is done; it stays 0 where the bar is not shown.
        total: how much there is in all, where that is known.
    """

    n: float
    total: float | None

    def update(self, n: float = 1) -> object: ...

    def refresh(self) -> object: ...

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> object: ...

    def write(self, s: str, file: TextIO) -> object: ...

    def close(self) -> object: ...

    def __enter__(self) -> Bar: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> object: ...


class HiddenBar:
    """A bar that is not shown."""

    def __init__(self, total: float | None = None) -> None:
        self.n: float = 0
        self.total = total

    def update(self, n: float = 1) -> None:
        pass

    def refresh(self) -> None:
        pass

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        pass

    def write(self, s: str, file: TextIO) -> None:
        print(s, file=file)

    def close(self) -> None:
        pass

    def __enter__(self) -> HiddenBar:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def progress_bar(total: float | None = None, *, shown: bool, **options: Any) -> Bar:
    """A bar up to `total`, with options of tqdm's; one that draws nothing unless it is `shown`."""
    if not shown:
        return HiddenBar(total)
    from tqdm import tqdm

    return cast(Bar, tqdm(total=total, **options))
