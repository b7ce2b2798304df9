from __future__ import annotations

import pytest
from starlette.requests import Request

from farthing.core.errors import InputError
from farthing.server.http.urgency import urgency_of
from farthing.serving.request import USUAL


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


def test_a_request_that_says_nothing_is_interactive_and_has_no_limit() -> None:
    assert urgency_of(request(), None) is USUAL
    assert (USUAL.lane, USUAL.left_s()) == ("interactive", None)


@pytest.mark.parametrize(("said", "lane"), [("bulk", "bulk"), ("Interactive", "interactive")])
def test_the_lane_is_what_the_header_says(said: str, lane: str) -> None:
    assert urgency_of(request(x_priority=said), None).lane == lane


@pytest.mark.parametrize("said", ["high", "", "bulk,bulk"])
def test_any_other_lane_is_refused(said: str) -> None:
    with pytest.raises(InputError, match="must be interactive or bulk") as caught:
        urgency_of(request(x_priority=said), None)
    assert caught.value.param == "x-priority"


@pytest.mark.parametrize(
    ("asked_ms", "timeout_s", "expected_s"),
    [("1500", None, 1.5), ("1500", 1.0, 1.0), ("500", 1.0, 0.5), (None, 2.0, 2)],
)
def test_the_shorter_limit_counts(asked_ms: str | None, timeout_s: float | None, expected_s: float) -> None:
    headers = {} if asked_ms is None else {"x_request_timeout_ms": asked_ms}
    urgency = urgency_of(request(**headers), timeout_s)
    assert urgency.timeout_s == expected_s
    left_s = urgency.left_s()
    assert left_s is not None
    assert 0 < left_s <= expected_s
    assert not urgency.is_over(urgency.start_s)
    assert urgency.is_over(urgency.start_s + expected_s)


@pytest.mark.parametrize("asked_ms", ["0", "-1", "1.5", "1e3", "soon", "", "1" * 13, "\u0663"])
def test_a_limit_that_is_no_whole_number_is_refused(asked_ms: str) -> None:
    scope = {"type": "http", "headers": [(b"x-request-timeout-ms", asked_ms.encode())]}
    with pytest.raises(InputError, match="whole number of milliseconds, 1 to 999999999999") as caught:
        urgency_of(Request(scope), None)
    assert caught.value.param == "x-request-timeout-ms"
