"""Which of several records that repeat each other is preferred.

In: the texts, the rule, and for "newest" a time for each record. Out: all records, preferred ones first. Except with
"first", the order does not depend on the order of the input: records that the rule does not tell apart are ordered by
their texts.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from farthing.core.errors import InputError
from farthing.toolkit.records.skipped import STRICT, Skipped

if TYPE_CHECKING:
    import numpy as np

Keep = Literal["first", "longest", "newest"]
KEEP: tuple[Keep, ...] = ("first", "longest", "newest")


def order_of(texts: Sequence[str], keep: Keep = "first", times: Sequence[float] | None = None) -> np.ndarray:
    """Return the indices of all texts, int64, those of preferred texts first.

    Args:
        keep: "first" in the input, "longest" in characters, or "newest".
        times: one for each text, in seconds or anything else that grows with time; only for "newest".
    """
    import numpy as np  # not for the help of a command

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
    """Return the times of records in a form that can be compared: numbers as they are, ISO 8601 dates as seconds since
    1970 UTC.

    The first time decides whether times are numbers or dates. A record whose time is of the other kind, or neither,
    counts as older than all others.

    Args:
        values: the field's value of each record; None where a record has no such field.
        untimed: is told of each record without a time, by `place(index)`; if it is strict, the first one is an error.

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
    """Return the error for a value that is no time.

    `is_of_numbers` says what the other times are, where this value is a time of the other kind.
    """
    if is_of_numbers is not None:
        kind = "numbers" if is_of_numbers else "dates"
        reason = f"is {value!r}; others before it are {kind}. Give one kind of them."
    elif value is None:
        reason = "is missing or null, and so no time."
    else:
        reason = f"is {value!r}, not a time. Give a number or an ISO 8601 date such as 2026-11-22T08:30:00Z."
    return InputError(f"{place}: the field {field!r} {reason}", param="time_field")


def read_time(value: object) -> tuple[float | None, bool]:
    """Return the time, None if the value is none, and whether it is a number."""
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
