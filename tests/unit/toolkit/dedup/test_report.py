from __future__ import annotations

import numpy as np
import pytest

from farthing.toolkit.dedup.find import Duplicates, find_duplicates
from farthing.toolkit.dedup.report import DedupReport, Side, draw, histogram, make_report

TEXTS = ["start", "near", "nearer", "far", "START", "line\nend \x1b[31m" + "long " * 50]
ANGLES = np.array([0, 0.3, 0.1, 0.6, 0, 0.5])


@pytest.fixture
def found() -> Duplicates:
    vectors = np.stack((np.cos(ANGLES), np.sin(ANGLES)), axis=1).astype(np.float32)
    return find_duplicates(TEXTS, vectors, threshold=0.35)


@pytest.fixture
def report(found: Duplicates) -> DedupReport:
    side = Side(TEXTS.__getitem__, lambda index: f"Line {index + 1}")
    return make_report(found, side, side)


def test_every_text_is_counted_once(report: DedupReport) -> None:
    assert (report.num_texts, report.num_exact, report.num_near, report.num_kept) == (6, 1, 3, 2)
    # All but the first, which has none before it, and the exact duplicate.
    assert sum(bar.num_texts for bar in report.histogram) == 4


def test_pairs_come_with_those_nearest_to_the_threshold_first(report: DedupReport) -> None:
    assert [(pair.text, pair.nearest_text) for pair in report.dropped_pairs] == [
        ("near", "start"),
        ("nearer", "start"),
        (TEXTS[5], "far"),
    ]
    assert [(pair.place, pair.nearest_place) for pair in report.kept_pairs] == [("Line 4", "Line 1")]
    assert report.dropped_pairs[0].distance == pytest.approx(0.299, abs=1e-3)


def test_bars_have_the_threshold_as_an_edge_and_reach_to_the_greatest_distance() -> None:
    bars = histogram(np.array([0.0, 0.05, 0.351, 0.35, 1.9], dtype=np.float32), 0.35)
    assert [(bar.above, bar.up_to) for bar in bars[6:8]] == [(0.3, 0.35), (0.35, 0.4)]
    assert (bars[0].num_texts, bars[6].num_texts, bars[7].num_texts, bars[-1].num_texts) == (2, 1, 1, 1)
    for threshold in (0.0, 0.01, 0.7, 1.99):
        bars = histogram(np.array([0.0, 0.5, 2.0]), threshold)
        assert bars[0].above == 0
        assert bars[-1].up_to == 2
        assert sum(bar.num_texts for bar in bars) == 3


def test_bars_up_to_the_threshold_count_what_is_dropped() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for threshold in (0.1, 0.3464, 0.35, 1 / 3):
        found = find_duplicates([f"text {number}" for number in range(500)], vectors, threshold=threshold)
        bars = histogram(found.distances[1:], threshold)
        assert sum(bar.num_texts for bar in bars[:7]) == found.dropped.sum()


def test_lines_fit_the_terminal_and_hold_no_control_characters(report: DedupReport) -> None:
    lines = list(draw(report, 80))
    assert lines[0] == "6 texts: 2 are kept. Dropped: 1 as the same text, 3 as near duplicates."
    assert max(map(len, lines[1:])) <= 80
    assert all(line.isprintable() for line in lines)
    threshold = next(place for place, line in enumerate(lines) if "dropped, what is below is kept" in line)
    assert lines[threshold - 1].startswith("  0.300 - 0.350")
    assert any(line.endswith("...") and "line end [31mlong" in line for line in lines)


def test_without_vectors_there_are_only_counts() -> None:
    side = Side(TEXTS.__getitem__, str)
    report = make_report(find_duplicates(TEXTS, None), side, side)
    assert report.histogram == report.kept_pairs == []
    assert list(draw(report, 80)) == ["6 texts: 5 are kept. Dropped: 1 as the same text, 0 as near duplicates."]
