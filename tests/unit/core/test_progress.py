"""Bars that are drawn, and bars that are not."""

from __future__ import annotations

import sys

import pytest

from farthing.core.progress import progress_bar


def test_a_bar_that_is_shown_counts_and_draws(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(4, shown=True, desc="Working") as bar:
        bar.update(3)
        bar.set_postfix_str("three", refresh=False)
        bar.refresh()
        assert (bar.n, bar.total) == (3, 4)
    assert "Working:  75%" in capsys.readouterr().err


def test_a_hidden_bar_takes_the_same_calls_and_draws_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(4, shown=False, desc="Working") as bar:
        bar.update(3)
        bar.set_postfix_str("three", refresh=False)
        bar.refresh()
        bar.total = 5
        assert (bar.n, bar.total) == (0, 5)
    bar.close()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("shown", [False, True])
def test_what_is_written_beside_a_bar_is_seen_whether_the_bar_is_or_not(
    shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar(shown=shown) as bar:
        bar.write("a warning", file=sys.stderr)
    assert "a warning\n" in capsys.readouterr().err
