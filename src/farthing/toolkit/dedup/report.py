"""What was found, for people and programs: counts, a histogram of distances, and pairs on both sides of the threshold.

In: `Duplicates` and the texts. Out: a `Report`. It is drawn by `farthing.toolkit.dedup.report`.

The histogram is there to choose a threshold by. It counts the distance of each text to the nearest one that was kept
before it, exact duplicates apart. With another threshold others are kept, so that what it would drop is about, not
exactly, what the bars say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from farthing.toolkit.dedup.find import Duplicates

# The threshold is the upper edge of a bar; the bars go on to three times as far, for 0.35 in steps of 0.05.
BARS_TO_THRESHOLD, NUM_BARS = 7, 21
BARS_OF_ZERO = 0.05  # width where the threshold is 0
LARGEST_DISTANCE = 2.0
NUM_EXAMPLES = 20
NUM_PAIRS = 3
BAR_CHARS = 40


@dataclass(frozen=True)
class Bar:
    """How many texts have a distance over `above` (the first bar: from 0), up to `up_to`."""

    above: float
    up_to: float
    num_texts: int


@dataclass(frozen=True)
class Pair:
    """A text and the kept one that is nearest to it, with their places in the input."""

    distance: float
    text: str
    place: str
    nearest_text: str
    nearest_place: str


@dataclass(frozen=True)
class Report:
    """
    Attributes:
        threshold: None where only the same texts were looked for; the histogram is empty then.
        histogram: with a last bar up to the greatest distance there is, 2.
        dropped_pairs: not the same text, those nearest to the threshold first.
        kept_pairs: likewise.
        num_unknown: as in `Duplicates`.
    """

    num_texts: int
    num_exact: int
    num_near: int
    num_kept: int
    threshold: float | None
    histogram: list[Bar]
    dropped_pairs: list[Pair]
    kept_pairs: list[Pair]
    num_unknown: int = 0


@dataclass(frozen=True)
class Side:
    """One of the two sides of the pairs: text and place by index."""

    text: Callable[[int], str]
    place: Callable[[int], str]


def make_report(found: Duplicates, texts: Side, nearest: Side) -> Report:
    """`nearest` are the texts that `found.nearest` points to: the same ones, or those of another set."""
    compared = np.flatnonzero(~found.exact & np.isfinite(found.distances))
    by_distance = compared[np.argsort(found.distances[compared], kind="stable")]

    def pairs(indices: np.ndarray) -> list[Pair]:
        return [pair(found, int(index), texts, nearest) for index in indices[:NUM_EXAMPLES]]

    dropped, exact = int(found.dropped.sum()), int(found.exact.sum())
    return Report(
        num_texts=len(found.dropped),
        num_exact=exact,
        num_near=dropped - exact,
        num_kept=len(found.dropped) - dropped,
        threshold=found.threshold,
        histogram=[] if found.threshold is None else histogram(found.distances[compared], found.threshold),
        dropped_pairs=pairs(by_distance[found.dropped[by_distance]][::-1]),
        kept_pairs=pairs(by_distance[~found.dropped[by_distance]]),
        num_unknown=found.num_unknown,
    )


def pair(found: Duplicates, index: int, texts: Side, nearest: Side) -> Pair:
    other = int(found.nearest[index])
    distance = round(float(found.distances[index]), 4)
    return Pair(distance, texts.text(index), texts.place(index), nearest.text(other), nearest.place(other))


def histogram(distances: np.ndarray, threshold: float) -> list[Bar]:
    widest = threshold or BARS_OF_ZERO * BARS_TO_THRESHOLD
    edges = [widest * number / BARS_TO_THRESHOLD for number in range(NUM_BARS + 1)]
    edges[BARS_TO_THRESHOLD] = widest  # not a rounding beside it
    edges = [edge for edge in edges if edge < LARGEST_DISTANCE] + [LARGEST_DISTANCE]
    # What is within the threshold is dropped: a bar has its upper edge, and the first one has 0 too.
    bars = np.searchsorted(np.array(edges[1:-1], dtype=distances.dtype), distances, side="left")
    counts = np.bincount(bars, minlength=len(edges) - 1)
    shown = [round(edge, 4) for edge in edges]
    return [Bar(above, up_to, int(count)) for above, up_to, count in zip(shown, shown[1:], counts, strict=False)]


def draw(report: Report, width: int) -> Iterator[str]:
    """Lines of at most about `width` characters; texts are cut to it."""
    yield (
        f"{report.num_texts:,} texts: {report.num_kept:,} are kept. Dropped: {report.num_exact:,} as the same text, "
        f"{report.num_near:,} as near duplicates."
    )
    if report.num_unknown:
        yield (
            f"{report.num_unknown:,} have no word that the model knows: their vectors say nothing, and they are told "
            "apart by spelling alone."
        )
    if report.threshold is None:
        return
    yield ""
    yield "Distance to the nearest text kept before it:"
    yield from draw_histogram(report.histogram, report.threshold)
    for what, pairs in (("Dropped", report.dropped_pairs), ("Kept", report.kept_pairs)):
        if pairs:
            yield ""
            yield f"{what}, nearest to the threshold:"
            yield from draw_pairs(pairs[:NUM_PAIRS], width)


def draw_histogram(histogram: Sequence[Bar], threshold: float) -> Iterator[str]:
    largest = max(bar.num_texts for bar in histogram) or 1
    for bar in histogram:
        length = -(-bar.num_texts * BAR_CHARS // largest)  # whatever there is can be seen
        yield f"  {bar.above:.3f} - {bar.up_to:.3f} {bar.num_texts:>11,}  {'#' * length}".rstrip()
        if bar.up_to == round(threshold, 4):
            yield f"  --- {threshold:.4g}: what is above this line is dropped, what is below is kept ---"


def draw_pairs(pairs: Sequence[Pair], width: int) -> Iterator[str]:
    for pair in pairs:
        yield f"  {pair.distance:.3f}  {pair.place}, {pair.nearest_place}"
        for text in (pair.text, pair.nearest_text):
            yield f"         {one_line(text, width - 9)}"


def one_line(text: str, width: int) -> str:
    """The text without line ends and control characters, cut to `width`."""
    shown = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return shown if len(shown) <= width else shown[: max(1, width - 3)] + "..."
