"""A picture of an evaluation: quality against memory, speed and the time of a query. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from farthing.core.errors import SettingsError
from farthing.toolkit.evaluate.extra import needed
from farthing.toolkit.evaluate.grid import MAIN_FIGURES, Row

SUFFIXES = (".svg", ".png")
MIB = 2**20
# Points of a series that are named; more names would cover each other.
MOST_NAMED = 12
ROOM_FOR_NAMES = 1.35  # to the right of the last point


def check_suffix(path: Path) -> None:
    """Raises `SettingsError` for a file that is not a picture here."""
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"A picture is written to a file named .svg or .png, not {path}.", param="plot")


def plot(rows: Sequence[Row], path: Path, title: str) -> None:
    """Write a picture with a line of panels a kind of set, and a series a set.

    Memory is what is planned for the model, and the vectors of the set; without a model in this process the vectors
    alone.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SettingsError: `path` is not named .svg or .png.
    """
    check_suffix(path)
    with needed("A picture"):
        from matplotlib.figure import Figure
    kinds = [kind for kind in MAIN_FIGURES if any(row.kind == kind for row in rows)]
    figure = Figure(figsize=(14, 0.6 + 4 * len(kinds)), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(len(kinds), 3, squeeze=False)
    for kind, (by_memory, by_speed, by_time) in zip(kinds, panels, strict=True):
        chosen = [row for row in rows if row.kind == kind]
        by_memory.set_ylabel(f"{MAIN_FIGURES[kind]} ({kind})")
        draw(by_memory, chosen, [memory_mib(row) for row in chosen], "MiB, model (planned) and the set's vectors")
        draw(by_speed, chosen, [row.texts_per_s for row in chosen], "texts/s embedded, many at once")
        draw(by_time, chosen, [row.query_ms or row.one_text_ms for row in chosen], query_label(kind))
        by_time.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def memory_mib(row: Row) -> float:
    model = row.memory.planned_bytes if row.memory else 0
    return (model + row.num_texts * row.vector_bytes) / MIB


def query_label(kind: str) -> str:
    return "ms a query, embedded alone and searched" if kind == "retrieval" else "ms a text, embedded alone"


def draw(panel: Any, rows: Sequence[Row], places: Sequence[float], label: str) -> None:
    names = names_of(rows)
    for name in dict.fromkeys(row.set for row in rows):
        chosen = [index for index, row in enumerate(rows) if row.set == name]
        x, y = [places[index] for index in chosen], [rows[index].main_figure for index in chosen]
        panel.plot(x, y, "o", label=name, alpha=0.8)
        if len(chosen) <= MOST_NAMED:
            for index, *point in zip(chosen, x, y, strict=True):
                panel.annotate(names[index], point, xytext=(4, 3), textcoords="offset points", fontsize="x-small")
    panel.set_xlabel(label)
    panel.set_xlim(0, ROOM_FOR_NAMES * max(places))
    panel.margins(y=0.12)
    panel.grid(visible=True, alpha=0.3)


def names_of(rows: Sequence[Row]) -> list[str]:
    """What tells each row from the others: only what differs between some of them."""
    told = [(row.format, row.instruction or "", f"{row.dimensions} dimensions", row.search or "") for row in rows]
    differ = [len(set(values)) > 1 for values in zip(*told, strict=True)]
    return [", ".join(value for value, counts in zip(row, differ, strict=True) if counts and value) for row in told]
