from __future__ import annotations

import pytest

from farthing.core.errors import InputError
from farthing.toolkit.dedup.order import order_of, read_times

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


@pytest.mark.parametrize("value", [None, "yesterday", True, ["2026"], "nan", float("inf"), 10**400, ""])
def test_what_is_no_time_is_named_with_its_line(value: object) -> None:
    with pytest.raises(InputError, match=r"Line 2 of data.csv: the field 't' is .* not a time. Give a number or"):
        read_times([1, value], "t", place)


def test_numbers_and_dates_are_not_mixed() -> None:
    with pytest.raises(InputError, match=r"Line 3 .* '2026-11-22'; others before it are numbers"):
        read_times([1, 2, "2026-11-22"], "t", place)
    with pytest.raises(InputError, match="others before it are dates"):
        read_times(["2026-11-22", 2], "t", place)
