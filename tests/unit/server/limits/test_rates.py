from __future__ import annotations

import pytest

from farthing.server.limits.rates import format_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.1201, "121ms"), (1, "1s"), (8.635, "8.64s"), (59.999, "60s"), (60, "1m0s"), (89.2, "1m30s")],
)
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
