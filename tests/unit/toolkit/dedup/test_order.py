from __future__ import annotations

from math import inf

import pytest

from farthing.core.errors import InputError
from farthing.toolkit.dedup.order import order_of, read_times
from farthing.toolkit.records.skipped import Skipped

TEXTS = ["bb", "aaa", "c", "aa", "ccc"]


def place(index: int) -> str:
    return f"Line {index + 1} of data.csv"


def test_the_first_come_first() -> None:
    assert order_of(TEXTS).tolist() == [0, 1, 2, 3, 4]


def test_the_longest_come_first() -> None:
    assert order_of(TEXTS, "longest").tolist() == [1, 4, 3, 0, 2]


def test_the_newest_come_first() -> None:
    assert order_of(TEXTS, "newest", [1, 3, 5, 1, 2]).tolist() == [2, 1, 4, 3, 0]


def test_numbers_and_dates_are_times() -> None:
    assert read_times([2, "1.5", -3.5], "t", place) == [2, 1.5, -3.5]
    dates = ["2026-11-22", "2026-11-22T01:00:00Z", "2026-11-22 02:00+02:00"]
    midnight, one, also_midnight = read_times(dates, "t", place)
    assert (one - midnight, also_midnight) == (3600, midnight)


@pytest.mark.parametrize("value", ["yesterday", True, ["2026"], "nan", float("inf"), 10**400, ""])
def test_what_is_no_time_is_named_with_its_line(value: object) -> None:
    with pytest.raises(InputError, match=r"Line 2 of data.csv: the field 't' is .* not a time. Give a number or"):
        read_times([1, value], "t", place)


def test_a_record_without_a_time_is_the_oldest_and_told() -> None:
    untimed = Skipped()
    assert read_times([None, "soon", 3, "2026-11-22", -5], "t", place, untimed) == [-inf, -inf, 3, -inf, -5]
    assert untimed.num == 3
    assert "is missing or null" in untimed.reasons[0]
    assert "not a time" in untimed.reasons[1]
    assert "others before it are numbers" in untimed.reasons[2]
    assert order_of(TEXTS, "newest", [-inf, 3, 5, 1, 2]).tolist() == [2, 1, 4, 3, 0]


def test_where_no_record_has_a_time_the_field_is_wrong() -> None:
    with pytest.raises(InputError, match="the field 't' is missing or null"):
        read_times([None, None], "t", place, Skipped())
    assert read_times([], "t", place, Skipped()) == []


def test_numbers_and_dates_are_not_mixed() -> None:
    with pytest.raises(InputError, match=r"Line 3 .* '2026-11-22'; others before it are numbers"):
        read_times([1, 2, "2026-11-22"], "t", place)
    with pytest.raises(InputError, match="others before it are dates"):
        read_times(["2026-11-22", 2], "t", place)
