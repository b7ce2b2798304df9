"""What `farthing eval` is told to compare: lists with commas, language pairs, ways to search, weight formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from farthing.core.errors import InputError
from farthing.core.resolve import Resolved
from farthing.core.settings import UpstreamSettings

if TYPE_CHECKING:
    from farthing.toolkit.evaluate.retrieval import Search


class CommaList(click.ParamType[tuple[str, ...]]):
    """Values with commas between them."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        found = tuple(part.strip() for part in value.split(","))
        if not all(found):
            self.fail(f"{value!r} has an empty part; give values with commas between them.", param, ctx)
        return found


LIST = CommaList()


def whole(number: str) -> int:
    """Raises `click.UsageError`."""
    if not number.isdecimal():
        raise click.UsageError(f"--dimensions {number} is not a whole number.")
    return int(number)


def language_pairs(cross: tuple[str, ...] | None) -> list[tuple[str, str]]:
    """Raises `click.UsageError` for what is not two languages."""
    pairs = []
    for given in cross or ():
        first, _, second = given.partition("-")
        if not first or not second:
            raise click.UsageError(f"--cross {given} is not two languages such as en-zh.")
        pairs.append((first, second))
    return pairs


def searches_of(hybrid: tuple[str, ...] | None) -> list[Search]:
    """Raises `click.UsageError` for what is neither a number from 0 to 1 nor "ranks"."""
    from farthing.toolkit.evaluate.retrieval import Search
    from farthing.toolkit.index.hybrid import Blend

    if hybrid is None:
        return [Search()]
    found = []
    for given in hybrid:
        try:
            found.append(Search(Blend("ranks", 0.5) if given == "ranks" else Blend("sum", float(given))))
        except (ValueError, InputError) as error:
            raise click.UsageError(f"--hybrid {given} is neither a number from 0 to 1 nor ranks.") from error
    return found


def variants(model: str, formats: tuple[str, ...] | None, settings: Resolved) -> list[tuple[str, str, Resolved]]:
    """(what it is called, model, settings) of each format.

    Raises `click.UsageError` where another server chooses the format, `SettingsError` for a format that is none.
    """
    if formats is None:
        return [("", model, settings)]
    upstream = settings.group(UpstreamSettings)
    if upstream.urls or upstream.engine != "farthing":
        raise click.UsageError("--formats was given for a model on another server, which chooses its format.")
    found = []
    for name in formats:
        folder = Path(name)
        if folder.is_dir():
            found.append((folder.name, name, settings))
        else:
            found.append((name, model, settings.with_values({"format": name}, "flag")))
    return found
