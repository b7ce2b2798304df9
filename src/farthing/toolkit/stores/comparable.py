"""Gives the forms in which fields of documents are compared with the values of conditions, the same in every store.

In: a document's fields, or a condition. Out: plain values under keys that say their type, and comparisons of such keys.
A value of another type than the condition's does not meet the condition. A text also counts as the number, the truth
value or the version that it spells, since every cell of a CSV file is a text: `19.90` meets `price <= 20`, and stays
`19.90`.

A list is compared in all the forms of its values: for each kind of form, the kind's plural holds all of them, beside
the least and the greatest. So a list meets a condition that one of its values meets, but `!=` when none of its values
is the condition's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from farthing.toolkit.documents.document import FieldValue, Value
from farthing.toolkit.stores.where import MAX_NUMBER_CHARS, Condition, Operator, spelled_number, spelled_truth

Form = str | float | bool

# From here on, not every whole number is a floating point number, and the JSON of most stores has no other numbers.
FIRST_LONG = 2**53
MAX_LONG = 10**MAX_NUMBER_CHARS
NINES = str.maketrans("0123456789", "9876543210")


class Comparison(NamedTuple):
    """A comparison of a value with `key`, which is one of the keys of `comparable`. Values are finite; `has` and
    `lacks` are asked of lists."""

    key: str
    operator: Operator | Literal["has", "lacks"]
    value: Form


def comparable(metadata: Mapping[str, FieldValue]) -> dict[str, Form | list[Form]]:
    """All forms of the fields, by their keys. The keys of lists have the kind in the plural."""
    return {
        f"{kind}:{name}": form
        for name, given in metadata.items()
        for kind, form in (forms(given) if isinstance(given, (str, int, float)) else list_forms(given))
    }


def comparisons(condition: Condition) -> tuple[list[Comparison], list[Comparison]]:
    """The comparisons for a field with one value, and those for a list; a document that meets either meets the
    condition.

    In each of the two, the first comparison whose key a document has decides; a document that has none of the keys
    meets neither.
    """
    field, operator, value = condition
    wanted = wanted_forms(value, operator)
    alone = [Comparison(f"{kind}:{field}", operator, form) for kind, form in wanted]
    return alone, [in_list(kind, field, operator, form) for kind, form in wanted]


def wanted_forms(value: Value, operator: Operator) -> list[tuple[str, Form]]:
    """The forms that fields are compared with, by kind."""
    if isinstance(value, bool):
        return [("bool", value)]
    if isinstance(value, str):
        version = version_form(value) if value.count(".") > 1 and operator not in ("=", "!=") else None
        return [("text", value) if version is None else ("version", version)]
    long = long_form(value)
    return [*([] if long is None else [("long", long)]), ("number", finite(value))]


def in_list(kind: str, field: str, operator: Operator, form: Form) -> Comparison:
    """The comparison that a list meets if it meets the condition: the least of its values is below another if any
    is."""
    if operator in ("=", "!="):
        return Comparison(f"{kind}s:{field}", "has" if operator == "=" else "lacks", form)
    return Comparison(f"{'least' if operator in ('<', '<=') else 'greatest'} {kind}:{field}", operator, form)


def forms(value: Value) -> Iterator[tuple[str, Form]]:
    """The forms of a value, by kind. A number that is none (NaN) has no form."""
    if isinstance(value, str):
        yield "text", value
        if (version := version_form(value)) is not None:
            yield "version", version
        if (truth := spelled_truth(value)) is not None:
            yield "bool", truth
    elif isinstance(value, bool):
        yield "bool", value
    if (number := number_in(value)) is not None:
        yield "number", finite(number)
        if (long := long_form(number)) is not None:
            yield "long", long


def list_forms(values: Sequence[Value]) -> Iterator[tuple[str, Form | list[Form]]]:
    """The forms of a list, by kind: what the list holds, each form once, and the least and the greatest of these."""
    held: dict[str, dict[Any, None]] = {}
    for value in values:
        for kind, form in forms(value):
            held.setdefault(kind, {})[form] = None
    if "long" in held:
        # Long numbers are compared first, and that comparison decides. It must look at all numbers, so the others get
        # their places among the long ones.
        numbers = [number for value in values if (number := number_in(value)) is not None]
        held["long"] = dict.fromkeys(map(long_place, numbers))
    for kind, found in held.items():
        yield f"{kind}s", list(found)
        yield f"least {kind}", min(found)
        yield f"greatest {kind}", max(found)


def number_in(value: Value) -> int | float | None:
    """The number that a value is, or that a text spells; None for any other value."""
    if isinstance(value, str):
        return spelled_number(value.strip())
    return None if isinstance(value, bool) or value != value else value


def finite(number: float) -> float:
    """A number as JSON has it: one that is infinite or too large becomes the largest finite one."""
    try:
        return min(max(float(number), -sys.float_info.max), sys.float_info.max)
    except OverflowError:
        return sys.float_info.max if number > 0 else -sys.float_info.max


def long_form(number: float) -> str | None:
    """A whole number beyond the exact floating point ones as a text that sorts as the numbers do; None for any other
    number."""
    return ordered(number) if isinstance(number, int) and FIRST_LONG <= abs(number) < MAX_LONG else None


def long_place(number: float) -> str:
    """A text for any number, which sorts among the texts of `long_form` as the number does among theirs."""
    return ordered(int(max(min(number, MAX_LONG), -MAX_LONG)))


def ordered(whole: int) -> str:
    """A whole number of at most 99 digits as a text that sorts as the numbers do."""
    digits = str(abs(whole))
    return f"1{len(digits):02}{digits}" if whole >= 0 else f"0{99 - len(digits):02}{digits.translate(NINES)}"


def version_form(text: str) -> str | None:
    """A version such as 1.10 or v2.0.1 as a text that sorts as versions do; None for any other text."""
    if "." not in text or len(text) > MAX_NUMBER_CHARS:
        return None
    parts = text[text[:1] in ("v", "V") :].split(".")
    if not all(part.isascii() and part.isdecimal() for part in parts):
        return None
    shortest = [part.lstrip("0") or "0" for part in parts]
    return ".".join(f"{len(part):02}{part}" for part in shortest)
