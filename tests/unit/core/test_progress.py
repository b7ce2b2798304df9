"""Bars that are drawn, and bars that are not."""

from __future__ import annotations

import sys
import time

import pytest

from farthing.core import progress
from farthing.core.progress import progress_bar, progress_bars


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


@pytest.mark.parametrize("shown", [True, False])
def test_each_step_that_takes_long_gets_a_bar_where_it_is_shown(
    shown: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SHOWN_AFTER_S", 0.01)
    with progress_bars(shown=shown) as on_step:
        on_step("Loading a-model", 1, 4)
        time.sleep(0.2)
        on_step("Loading a-model", 2, 4)
        on_step("Rounding a-model", 2 * 2**20, 4 * 2**20)
        time.sleep(0.2)
        on_step("Rounding a-model", 3 * 2**20, 4 * 2**20)
        on_step("Measuring a-model", 0, 2)
    bars = capsys.readouterr().err
    told = ("Loading a-model:  50%", "Rounding a-model:  75%", "Measuring a-model:   0%")
    assert [text in bars for text in told] == [shown] * 3


def test_what_is_done_at_once_gets_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars(shown=True) as on_step:
        on_step("Loading a-model", 1, 2)
        on_step("Loading a-model", 2, 2)
    assert capsys.readouterr().err == ""


def test_without_a_terminal_no_step_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SHOWN_AFTER_S", 0)
    with progress_bars() as on_step:
        on_step("Loading a-model", 1, 2)
        on_step("Loading a-model", 2, 2)
    assert capsys.readouterr().err == ""
