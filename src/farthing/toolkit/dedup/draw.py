"""A `Report` as lines of plain text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from farthing.toolkit.dedup.report import Bar, Pair, Report

NUM_PAIRS = 3
BAR_CHARS = 40


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
