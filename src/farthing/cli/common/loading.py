"""What the user sees while a model is loaded, which takes minutes for a large one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from farthing.engine.plan.plan import Plan


def say_rounded(plan: Plan | None) -> None:
    """Say on standard error that vectors come from rounded weights, where nobody asked for rounding."""
    if plan is not None and plan.is_rounded:
        click.echo(f"Weights in {plan.reasons[0]}.", err=True)
