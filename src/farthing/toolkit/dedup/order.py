"""Which of several records that repeat each other is rather kept.

In: the texts, the rule, and for "newest" a time a record. Out: all records, those rather kept first. Except for
"first" the order does not follow from that of the input: records that the rule does not part are ordered by their
texts.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from farthing.core.errors import InputError
from farthing.toolkit.records.skipped import STRICT, Skipped

Keep = Literal["first", "longest", "newest"]
KEEP: tuple[Keep, ...] = ("first", "longest", "newest")


def order_of(texts: Sequence[str], keep: Keep = "first", times: Sequence[float] | None = None) -> np.ndarray:
    """Indices of all texts, int64.

    Args:
        keep: "first" in the input, "longest" in characters, or "newest".
        times: seconds, or whatever grows with time, one a text; for "newest" alone.
    """
    if keep == "first":
        return np.arange(len(texts))
    if keep == "longest":
        ordered = sorted(range(len(texts)), key=lambda index: (-len(texts[index]), texts[index]))
    else:
        assert times is not None, "newest needs times"
        ordered = sorted(range(len(texts)), key=lambda index: (-times[index], texts[index]))
    return np.array(ordered, dtype=np.int64)


def read_times(
    values: Sequence[object], field: str, place: Callable[[int], str], untimed: Skipped = STRICT
) -> list[float]:
    """Times of records in a form that can be compared: numbers as they are, ISO 8601 dates as seconds since 1970 UTC.

    What is neither counts as older than all others, as does a number among dates, or a date among numbers; the first
    time says which of them it is.

    Args:
        values: None where a record has no such field.
        untimed: is told of records without a time, by `place(index)`; the first of them is an error where it is strict.

    Raises `InputError` also where no record has a time.
    """
    times: list[float] = []
    is_of_numbers: bool | None = None
    for index, value in enumerate(values):
        time, is_number = read_time(value)
        if time is not None and is_of_numbers is None:
            is_of_numbers = is_number
        if time is None or is_number != is_of_numbers:
            untimed.add(no_time(value, field, place(index), None if time is None else is_of_numbers))
            time = -math.inf
        times.append(time)
    if values and is_of_numbers is None:
        raise no_time(values[0], field, place(0), None)
    return times


def no_time(value: object, field: str, place: str, is_of_numbers: bool | None) -> InputError:
    """`is_of_numbers`: what others are, where it is a time of the other kind."""
    if is_of_numbers is not None:
        kind = "numbers" if is_of_numbers else "dates"
        reason = f"is {value!r}; others before it are {kind}. Give one kind of them."
    elif value is None:
        reason = "is missing or null, and so no time."
    else:
        reason = f"is {value!r}, not a time. Give a number or an ISO 8601 date such as 2026-11-22T08:30:00Z."
    return InputError(f"{place}: the field {field!r} {reason}", param="time_field")


def read_time(value: object) -> tuple[float | None, bool]:
    """The time, None if it is none, and whether it is a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None, False
    try:
        number = float(value)
    except OverflowError:
        return None, True
    except ValueError:
        return read_date(str(value)), False
    return (number if math.isfinite(number) else None), True


def read_date(value: str) -> float | None:
    try:
        date = datetime.datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=datetime.timezone.utc)).timestamp()
