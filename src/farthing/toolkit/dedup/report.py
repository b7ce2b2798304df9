"""What was found, for people and programs: counts, a histogram of distances, and pairs on both sides of the threshold.

In: `Duplicates` and the texts. Out: a `DedupReport`, and lines of text that `draw` makes from it.

The histogram helps to choose a threshold. It counts the distance of each text, exact duplicates apart, to the nearest
text that was kept before it. Another threshold would keep other texts, so the bars say only approximately how many
texts it would drop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from farthing.core.deferred import dataclass
from farthing.toolkit.dedup.find import Duplicates

# The threshold is the upper edge of a bar. The bars go on to three times the threshold; for 0.35 each is 0.05 wide.
BARS_TO_THRESHOLD, NUM_BARS = 7, 21
BARS_OF_ZERO = 0.05  # width of a bar where the threshold is 0
LARGEST_DISTANCE = 2.0
NUM_EXAMPLES = 20
NUM_PAIRS = 3
BAR_CHARS = 40


@dataclass(frozen=True)
class Bar:
    """How many texts have a distance over `above` (in the first bar: from 0) and up to `up_to`."""

    above: float
    up_to: float
    num_texts: int


@dataclass(frozen=True)
class Pair:
    """A text and the kept text that is nearest to it, with their places in the input."""

    distance: float
    text: str
    place: str
    nearest_text: str
    nearest_place: str


@dataclass(frozen=True)
class DedupReport:
    """
    Attributes:
        threshold: None where only the same texts were looked for; then the histogram is empty.
        histogram: its last bar goes up to 2, the greatest distance there is.
        dropped_pairs: of near duplicates, the pairs nearest to the threshold first.
        kept_pairs: of kept texts, the pairs nearest to the threshold first.
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
    """One of the two sides of the pairs: functions that give a text and its place by index."""

    text: Callable[[int], str]
    place: Callable[[int], str]


def make_report(found: Duplicates, texts: Side, nearest: Side) -> DedupReport:
    """Make the report. `nearest` are the texts that `found.nearest` points to: the same set, or another one."""
    compared = np.flatnonzero(~found.exact & np.isfinite(found.distances))
    by_distance = compared[np.argsort(found.distances[compared], kind="stable")]

    def pairs(indices: np.ndarray) -> list[Pair]:
        return [pair(found, int(index), texts, nearest) for index in indices[:NUM_EXAMPLES]]

    dropped, exact = int(found.dropped.sum()), int(found.exact.sum())
    return DedupReport(
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
    edges[BARS_TO_THRESHOLD] = widest  # exactly, without a rounding error
    edges = [edge for edge in edges if edge < LARGEST_DISTANCE] + [LARGEST_DISTANCE]
    # A distance equal to the threshold is dropped, so a bar includes its upper edge, and the first bar also 0.
    bars = np.searchsorted(np.array(edges[1:-1], dtype=distances.dtype), distances, side="left")
    counts = np.bincount(bars, minlength=len(edges) - 1)
    shown = [round(edge, 4) for edge in edges]
    return [Bar(above, up_to, int(count)) for above, up_to, count in zip(shown, shown[1:], counts, strict=False)]


def draw(report: DedupReport, width: int) -> Iterator[str]:
    """Yield the report as lines of at most about `width` characters; texts are cut to fit."""
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
        length = -(-bar.num_texts * BAR_CHARS // largest)  # rounded up, so that a single text can be seen
        yield f"  {bar.above:.3f} - {bar.up_to:.3f} {bar.num_texts:>11,}  {'#' * length}".rstrip()
        if bar.up_to == round(threshold, 4):
            yield f"  --- {threshold:.4g}: what is above this line is dropped, what is below is kept ---"


def draw_pairs(pairs: Sequence[Pair], width: int) -> Iterator[str]:
    for pair in pairs:
        yield f"  {pair.distance:.3f}  {pair.place}, {pair.nearest_place}"
        for text in (pair.text, pair.nearest_text):
            yield f"         {one_line(text, width - 9)}"


def one_line(text: str, width: int) -> str:
    """Return the text without line ends and control characters, cut to `width`."""
    shown = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return shown if len(shown) <= width else shown[: max(1, width - 3)] + "..."
