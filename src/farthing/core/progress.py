"""How far something is that takes long: what is told while it is done, and bars on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

# What is done now, in words; how much of it is done; and how much there is.
OnStep = Callable[[str, int, int], object]
SHOWN_AFTER_S = 1.0  # what is done at once gets no bar
BYTES_FROM = 10**6  # steps of which there are more are bytes


def untold(what: str, done: int, total: int) -> None:
    """Nobody wants to know."""


@contextmanager
def progress_bars(*, shown: bool | None = None) -> Iterator[OnStep]:
    """Give a function that draws a bar on standard error for each kind of step.

    Args:
        shown: draw bars; None to draw them on a terminal alone.
    """
    is_shown = sys.stderr.isatty() if shown is None else shown
    with ExitStack() as stack:
        bars: dict[str, tqdm] = {}  # type: ignore[type-arg]

        def on_step(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = stack.enter_context(new_bar(what, total, is_shown=is_shown))
            bars[what].update(done - bars[what].n)

        yield on_step


def new_bar(what: str, total: int, *, is_shown: bool) -> tqdm:  # type: ignore[type-arg]
    from tqdm import tqdm  # it takes a while, and most programs show no bar

    is_bytes = total > BYTES_FROM
    return tqdm(
        desc=what,
        total=total,
        unit="B" if is_bytes else "",
        unit_scale=is_bytes,
        unit_divisor=1024,
        disable=not is_shown,
        delay=SHOWN_AFTER_S,
        leave=False,
        dynamic_ncols=True,
    )
