"""What is seen of a model while it is loaded, which takes minutes for a large one."""

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
    """What is to be told of each layer that is loaded, and of how many; it draws a bar on standard error.

    `shown`: draw it; None on a terminal alone. A model that is loaded at once has none.
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
    """On standard error, that vectors are those of rounded weights, where nobody asked for that."""
    if plan is not None and plan.is_rounded:
        click.echo(f"Weights in {plan.reasons[0]}.", err=True)
