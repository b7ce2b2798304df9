"""Draws a picture of an evaluation: quality against memory, speed and the time of a query. Needs matplotlib.

An SVG takes the width of the page it is shown on, and is light or dark as its reader has set. Viewers without such a
setting show it light; a PNG is always light.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from farthing.core.errors import SettingsError
from farthing.core.files import write_atomically
from farthing.toolkit.evaluate.grid import MAIN_FIGURES, Row
from farthing.toolkit.optional import needed

SUFFIXES = (".svg", ".png")
MIB = 2**20
# The x axis goes this much beyond the last point, to leave room for the numbers beside points.
ROOM_FOR_NUMBERS = 1.15
QUERY_LABELS = {"retrieval": "ms a query, embedded alone and searched"}
MARKERS = "osD^vP*X"
# Where the numbers of a series stand beside its markers, in points. They differ, so that near series do not overlap.
BESIDE = (
    ((6, 0), "left", "center"),
    ((0, 6), "center", "bottom"),
    ((0, -6), "center", "top"),
    ((-6, 0), "right", "center"),
)
# The colours around the points, light and dark: ground, letters and lines. They are those of the map of clusters.
GROUND, LETTERS, LINES = "#ffffff", "#1b1f24", "#d9dde2"
DARK = {GROUND: "#14171a", LETTERS: "#e6e9ec", LINES: "#4a5159"}
# `Any`, because matplotlib's types list all its settings by name.
LIGHT_STYLE: Any = {
    **dict.fromkeys(("figure.facecolor", "axes.facecolor"), GROUND),
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), LETTERS),
    **dict.fromkeys(("grid.color", "legend.edgecolor"), LINES),
}
SIZE_OF_SVG = re.compile(r'(<svg\b[^>]*?) width="[^"]*"'), re.compile(r'(<svg\b[^>]*?) height="[^"]*"')


def check_suffix(path: Path) -> None:
    """Raise `SettingsError` when the name of the file does not end in one of `SUFFIXES`."""
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"A picture is written to a file named .svg or .png, not {path}.", param="plot")


def plot(rows: Sequence[Row], path: Path, title: str) -> None:
    """Write a picture with a row of panels for each kind of set: its main figure against memory, speed and time.

    Memory is that planned for the model, plus the vectors of the set. Without a model in this process it is the vectors
    alone.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SettingsError: `path` is not named .svg or .png.
    """
    check_suffix(path)
    with needed("A picture", "eval"):
        import matplotlib
        from matplotlib.colors import to_hex
        from matplotlib.figure import Figure
    kinds = [kind for kind in MAIN_FIGURES if any(row.kind == kind for row in rows)]
    colours, of_dark = (
        [to_hex(colour) for colour in matplotlib.colormaps[name].colors]  # type: ignore[attr-defined]
        for name in ("tab10", "tab20")
    )
    with matplotlib.rc_context(LIGHT_STYLE):
        figure = Figure(figsize=(15, 0.6 + 4 * len(kinds)), layout="constrained")
        figure.suptitle(title)
        panels = figure.subplots(len(kinds), 3, squeeze=False)
        for kind, (by_memory, by_speed, by_time) in zip(kinds, panels, strict=True):
            series = series_of([row for row in rows if row.kind == kind])
            by_memory.set_ylabel(f"{MAIN_FIGURES[kind]} ({kind})")
            draw(by_memory, series, memory_mib, "MiB, model (planned) and the set's vectors", colours)
            draw(by_speed, series, lambda row: row.texts_per_s, "texts/s embedded, many at once", colours)
            draw(by_time, series, query_ms, QUERY_LABELS.get(kind, "ms a text, embedded alone"), colours)
            by_time.legend(loc="upper left", bbox_to_anchor=(1.02, 1), fontsize="small")
        picture = io.BytesIO()
        figure.savefig(picture, format=path.suffix[1:].lower(), dpi=120)
    content = picture.getvalue()
    if path.suffix.lower() == ".svg":
        # "tab20" has the colours of "tab10", each followed by a lighter one.
        content = for_its_page(content.decode(), {**DARK, **dict(zip(colours, of_dark[1::2], strict=True))}).encode()
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def for_its_page(svg: str, dark: Mapping[str, str]) -> str:
    """Return the picture without a size of its own, and with other colours for readers who have set a dark page.

    Args:
        dark: the dark colours, by the colours that matplotlib wrote, as `#rrggbb`.
    """
    for size in SIZE_OF_SVG:
        svg = size.sub(r"\1", svg, count=1)
    rules = "\n".join(
        f'[style*="{what}: {colour}"] {{ {what}: {instead} !important }}'
        for colour, instead in dark.items()
        for what in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme: dark) {{\n{rules}\n}}</style>"
    return svg.replace("</defs>", f"</defs>\n{style}", 1)


def memory_mib(row: Row) -> float:
    model = row.memory.planned_bytes if row.memory else 0
    return (model + row.num_texts * row.vector_bytes) / MIB


def query_ms(row: Row) -> float:
    return row.one_text_ms if row.query_ms is None else row.query_ms


def series_of(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Group rows that differ only in their dimensions, each group under a name that tells it from the others."""
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
    """Draw a line for each series. If it has several points, each has its number of dimensions beside it."""
    for number, (name, rows) in enumerate(series.items()):
        x, y = [measure(row) for row in rows], [row.main_figure for row in rows]
        colour, marker = colours[number % len(colours)], MARKERS[number % len(MARKERS)]
        panel.plot(x, y, color=colour, marker=marker, label=name, alpha=0.8, linewidth=0.8)
        place, across, along = BESIDE[number % len(BESIDE)]
        for row, *point in zip(rows, x, y, strict=True) if len(rows) > 1 else ():
            panel.annotate(
                row.dimensions,
                point,
                xytext=place,
                textcoords="offset points",
                horizontalalignment=across,
                verticalalignment=along,
                fontsize="x-small",
                color=colour,
            )
    panel.set_xlabel(label)
    panel.set_xlim(0, ROOM_FOR_NUMBERS * max(measure(row) for rows in series.values() for row in rows))
    panel.margins(y=0.12)
    panel.grid(visible=True, alpha=0.3)
