"""What the user sees while a model is loaded, which takes minutes for a large one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from tqdm import tqdm

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
    with tqdm(
        desc=f"Loading {model}",
        unit=" layers",
        disable=not is_shown,
        delay=SHOWN_AFTER_S,
        leave=False,
        dynamic_ncols=True,
    ) as bar:

        def on_layer(num_done: int, num_layers: int) -> None:
            bar.total = num_layers
            bar.update(num_done - bar.n)

        yield on_layer


def say_rounded(plan: Plan | None) -> None:
    """Say on standard error that vectors come from rounded weights, where nobody asked for rounding."""
    if plan is not None and plan.is_rounded:
        click.echo(f"Weights in {plan.reasons[0]}.", err=True)
