"""A picture of an evaluation: quality against memory, speed and the time of a query. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from farthing.core.errors import SettingsError
from farthing.toolkit.evaluate.grid import MAIN_FIGURES, Row
from farthing.toolkit.extra import needed

SUFFIXES = (".svg", ".png")
MIB = 2**20
# To the right of the last point, for the numbers beside points.
ROOM_FOR_NUMBERS = 1.15
QUERY_LABELS = {"retrieval": "ms a query, embedded alone and searched"}
MARKERS = "osD^vP*X"


def check_suffix(path: Path) -> None:
    """Raises `SettingsError` for a file that is not a picture here."""
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"A picture is written to a file named .svg or .png, not {path}.", param="plot")


def plot(rows: Sequence[Row], path: Path, title: str) -> None:
    """Write a picture with a line of panels a kind of set: its main figure against memory, speed and time.

    Memory is what is planned for the model, and the vectors of the set; without a model in this process the vectors
    alone.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SettingsError: `path` is not named .svg or .png.
    """
    check_suffix(path)
    with needed("A picture", "eval"):
        import matplotlib
        from matplotlib.figure import Figure
    kinds = [kind for kind in MAIN_FIGURES if any(row.kind == kind for row in rows)]
    figure = Figure(figsize=(15, 0.6 + 4 * len(kinds)), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(len(kinds), 3, squeeze=False)
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for kind, (by_memory, by_speed, by_time) in zip(kinds, panels, strict=True):
        series = series_of([row for row in rows if row.kind == kind])
        by_memory.set_ylabel(f"{MAIN_FIGURES[kind]} ({kind})")
        draw(by_memory, series, memory_mib, "MiB, model (planned) and the set's vectors", colours)
        draw(by_speed, series, lambda row: row.texts_per_s, "texts/s embedded, many at once", colours)
        draw(by_time, series, query_ms, QUERY_LABELS.get(kind, "ms a text, embedded alone"), colours)
        by_time.legend(loc="upper left", bbox_to_anchor=(1.02, 1), fontsize="small")
    figure.savefig(path, dpi=120)


def memory_mib(row: Row) -> float:
    model = row.memory.planned_bytes if row.memory else 0
    return (model + row.num_texts * row.vector_bytes) / MIB


def query_ms(row: Row) -> float:
    return row.one_text_ms if row.query_ms is None else row.query_ms


def series_of(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows that differ only in dimensions together, under what tells them from other rows."""
    told = [(row.set, row.format, row.instruction or "", row.search or "") for row in rows]
    differ = [place == 0 or len(set(values)) > 1 for place, values in enumerate(zip(*told, strict=True))]
    series: dict[str, list[Row]] = {}
    for row, values in zip(rows, told, strict=True):
        name = ", ".join(value for value, counts in zip(values, differ, strict=True) if counts and value)
        series.setdefault(name, []).append(row)
    return series


def draw(
    panel: Any, series: Mapping[str, Sequence[Row]], measure: Callable[[Row], float], label: str, colours: Sequence[Any]
) -> None:
    """A line a series through its dimensions, whose numbers stand beside the points where there are several."""
    for number, (name, rows) in enumerate(series.items()):
        x, y = [measure(row) for row in rows], [row.main_figure for row in rows]
        colour, marker = colours[number % len(colours)], MARKERS[number % len(MARKERS)]
        panel.plot(x, y, color=colour, marker=marker, label=name, alpha=0.8, linewidth=0.8)
        for row, *point in zip(rows, x, y, strict=True) if len(rows) > 1 else ():
            panel.annotate(row.dimensions, point, xytext=(5, 3), textcoords="offset points", fontsize="x-small")
    panel.set_xlabel(label)
    panel.set_xlim(0, ROOM_FOR_NUMBERS * max(measure(row) for rows in series.values() for row in rows))
    panel.margins(y=0.12)
    panel.grid(visible=True, alpha=0.3)
