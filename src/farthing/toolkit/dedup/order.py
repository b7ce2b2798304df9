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


def read_times(values: Sequence[object], field: str, place: Callable[[int], str]) -> list[float]:
    """Times of records in a form that can be compared: numbers as they are, ISO 8601 dates as seconds since 1970 UTC.

    Raises `InputError` for what is neither, naming `place(index)`, and for a mixture of both.
    """
    times, numbers = [], 0
    for index, value in enumerate(values):
        time, is_number = read_time(value)
        if time is None:
            raise InputError(
                f"{place(index)}: the field {field!r} is {value!r}, not a time. Give a number or an ISO 8601 date such "
                "as 2026-11-22T08:30:00Z.",
                param="time_field",
            )
        numbers += is_number
        if numbers not in (0, index + 1):
            raise InputError(
                f"{place(index)}: the field {field!r} is {value!r}; others before it are "
                f"{'dates' if is_number else 'numbers'}. Give one kind of them.",
                param="time_field",
            )
        times.append(time)
    return times


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
