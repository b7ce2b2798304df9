"""What the user sees while a model is loaded, which takes minutes for a large one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from farthing.core.progress import Bar, progress_bar

if TYPE_CHECKING:
    from farthing.engine.plan.plan import Plan

SHOWN_AFTER_S = 1.0


@contextmanager
def loading(model: str, *, shown: bool | None = None) -> Iterator[Callable[[int, int], object]]:
    """Give a function to call after each layer with the number of layers loaded, and of all. It draws a bar on standard
    error.

    `shown`: draw the bar; None to draw it only on a terminal. A model that loads at once gets no bar.
    """
    is_shown = sys.stderr.isatty() if shown is None else shown
    started, bars = time.monotonic(), list[Bar]()

    def on_layer(num_done: int, num_layers: int) -> None:
        if not bars and is_shown and time.monotonic() - started >= SHOWN_AFTER_S:
            options = {"initial": num_done, "leave": False, "dynamic_ncols": True}
            bars.append(progress_bar(num_layers, shown=True, desc=f"Loading {model}", unit=" layers", **options))
        for bar in bars:
            bar.update(num_done - bar.n)

    try:
        yield on_layer
    finally:
        for bar in bars:
            bar.close()


def say_rounded(plan: Plan | None) -> None:
    """Say on standard error that vectors come from rounded weights, where nobody asked for rounding."""
    if plan is not None and plan.is_rounded:
        click.echo(f"Weights in {plan.reasons[0]}.", err=True)
