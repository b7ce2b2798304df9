from __future__ import annotations

import time

import pytest

from farthing.core import progress
from farthing.core.progress import progress_bars


@pytest.mark.parametrize("shown", [True, False])
def test_what_takes_longer_gets_a_bar_where_it_is_shown(
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
    bars = capsys.readouterr().err
    assert ("Loading a-model:  50%" in bars and "Rounding a-model:  75%" in bars) is shown


def test_without_a_terminal_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as on_step:
        on_step("Loading a-model", 1, 1)
    assert capsys.readouterr().err == ""
