"""Renders the rows of an evaluation: as Markdown, with a table for each kind of set, or as one JSON object."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from farthing.core.deferred import dataclass
from farthing.toolkit.evaluate.grid import Row
from farthing.toolkit.evaluate.labels import NUM_DRAWS, TEXTS_A_LABEL
from farthing.toolkit.evaluate.retrieval import DEPTH
from farthing.toolkit.evaluate.sets.find import LabelledSet

MIB = 2**20
KEYS = ("set", "format", "instruction", "dimensions", "search")  # columns that identify a row
NOTES = {
    "retrieval": f"Means over the queries, of the {DEPTH} documents found for each (trec_eval). ms a search: for these "
    f"{DEPTH}, without embedding the query; ms a query: with it, where the search needs its vector.",
    "similarity": "Correlation of the cosines with the scores.",
    "labels": f"accuracy: logistic regression on {TEXTS_A_LABEL} texts a label, mean of {NUM_DRAWS} draws (as MTEB). "
    "kNN accuracy: of the 5 nearest of all texts to learn from. v-measure: k-means, as many clusters as labels.",
    "translation": "top-1: share whose nearest sentence is the translation; back: in the other direction.",
}
COSTS = (
    "planned MiB: the most that the plan counts, of the whole process with Python and torch, on a card of its memory. "
    "measured MiB: by which the process's resident memory had grown when the sets were embedded, vectors aside. "
    "texts/s: embedded, many at once. ms a text: one embedded alone, of a retrieval set a query."
)
KEPT = "{num_kept:,} of {num_texts:,} vectors, and the time they took, are of an earlier run."


@dataclass(frozen=True)
class EvaluationReport:
    """
    Attributes:
        about: the versions and the machine that the figures hold for.
    """

    model: str
    sets: Sequence[LabelledSet]
    rows: Sequence[Row]
    about: dict[str, str]

    def as_object(self) -> dict[str, Any]:
        """Return the report as an object for JSON, with sizes in bytes and figures from 0 to 1."""
        return {
            "model": self.model,
            **self.about,
            "sets": [
                {"name": data.name, "kind": data.kind, "size": data.size, "files": data.files} for data in self.sets
            ],
            "rows": [asdict(row) for row in self.rows],
        }

    def as_markdown(self) -> str:
        facts = "; ".join(f"{name} {value}" for name, value in self.about.items())
        parts = [f"# {self.model}\n", f"{facts}\n", "\n".join(set_lines(self.sets)) + "\n", *self.tables()]
        return "\n".join(parts)

    def tables(self, width: int | None = None) -> Iterator[str]:
        """Yield a table for each kind of set, with the meaning of its columns below it.

        A table wider than `width` is split into several tables below each other.
        """
        for kind, note in NOTES.items():
            rows = [row for row in self.rows if row.kind == kind]
            if rows:
                found = ["\n".join(markdown(part)) for part in parted(cells_of(rows), width)]
                yield "\n\n".join([*found, wrapped(note, width)]) + "\n"
        yield wrapped(COSTS, width) + "\n"
        kept = {(row.set, row.instruction, row.format): (row.num_kept, row.num_texts) for row in self.rows}
        num_kept, num_texts = map(sum, zip(*kept.values(), strict=True))
        if num_kept:
            yield KEPT.format(num_kept=num_kept, num_texts=num_texts) + "\n"


def set_lines(sets: Sequence[LabelledSet]) -> Iterator[str]:
    """Yield a line for each set: the kind it was recognised as, its size, and the files it was read from."""
    for data in sets:
        yield f"- {data.name}: {data.kind}, {data.size} ({', '.join(data.files)})"


def cells_of(rows: Sequence[Row]) -> list[list[str]]:
    """Return a header and a line of cells for each row; empty columns are left out."""
    columns = {
        "set": [row.set for row in rows],
        "format": [row.format for row in rows],
        "instruction": [row.instruction or "" for row in rows],
        "dimensions": [str(row.dimensions) for row in rows],
        "search": [row.search or "" for row in rows],
        **{name: [f"{row.figures[name]:.4f}" for row in rows] for name in rows[0].figures},
        "planned MiB": [mebibytes(row.memory.planned_bytes if row.memory else None) for row in rows],
        "measured MiB": [mebibytes(row.memory.measured_bytes if row.memory else None) for row in rows],
        "bytes a vector": [f"{row.vector_bytes:,}" for row in rows],
        "texts/s": [f"{row.texts_per_s:,.0f}" for row in rows],
        "ms a text": [f"{row.one_text_ms:.1f}" for row in rows],
        "ms a search": ["" if row.search_ms is None else f"{row.search_ms:.2f}" for row in rows],
        "ms a query": ["" if row.query_ms is None else f"{row.query_ms:.1f}" for row in rows],
    }
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    return [list(filled), *map(list, zip(*filled.values(), strict=True))]


def parted(lines: Sequence[Sequence[str]], width: int | None) -> Iterator[list[list[str]]]:
    """Split a table by its columns into tables of at most `width`; each has the columns that identify a row."""
    keys = [place for place, name in enumerate(lines[0]) if name in KEYS]
    others = [place for place in range(len(lines[0])) if place not in keys]
    chosen: list[int] = []
    for place in others:
        if chosen and width is not None and width_of(lines, [*keys, *chosen, place]) > width:
            yield columns_of(lines, [*keys, *chosen])
            chosen = []
        chosen.append(place)
    yield columns_of(lines, [*keys, *chosen])


def width_of(lines: Sequence[Sequence[str]], places: Sequence[int]) -> int:
    return len(next(markdown(columns_of(lines, places))))


def columns_of(lines: Sequence[Sequence[str]], places: Sequence[int]) -> list[list[str]]:
    return [[line[place] for place in places] for line in lines]


def wrapped(text: str, width: int | None) -> str:
    return text if width is None else textwrap.fill(text, width)


def mebibytes(num_bytes: int | None) -> str:
    return "" if num_bytes is None else f"{num_bytes / MIB:,.0f}"


def markdown(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table whose columns are aligned in plain text too."""
    escaped = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*escaped, strict=True)]
    for number, line in enumerate(escaped):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        if number == 0:
            yield "| " + " | ".join("-" * width for width in widths) + " |"
