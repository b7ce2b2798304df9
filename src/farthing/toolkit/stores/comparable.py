"""What fields of documents are compared as with the values of conditions, the same in every store.

In: a document's fields, or a condition. Out: plain values under keys that say their type, and comparisons of such keys.
A value of another type than the condition's meets none. A text also counts as the number, the truth value or the
version that it spells, since every cell of a CSV file is a text: `19.90` meets `price <= 20`, and stays `19.90`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from farthing.toolkit.documents.document import Value
from farthing.toolkit.stores.where import MAX_NUMBER_CHARS, Condition, Operator, spelled_number, spelled_truth

# From here on not every whole number is a floating point number. JSON of most stores has no others.
FIRST_LONG = 2**53
MAX_LONG = 10**MAX_NUMBER_CHARS
NINES = str.maketrans("0123456789", "9876543210")


class Comparison(NamedTuple):
    """`key` is one of `comparable`. Values are finite."""

    key: str
    operator: Operator
    value: str | float | bool


def comparable(metadata: Mapping[str, Value]) -> dict[str, str | float | bool]:
    """All that the fields are compared as."""
    return {f"{kind}:{name}": value for name, given in metadata.items() for kind, value in forms(given)}


def comparisons(condition: Condition) -> list[Comparison]:
    """The first whose key a document has decides; a document that has none of them does not meet the condition."""
    field, operator, value = condition
    if isinstance(value, bool):
        return [Comparison(f"bool:{field}", operator, value)]
    if isinstance(value, str):
        version = version_form(value) if value.count(".") > 1 and operator not in ("=", "!=") else None
        return [Comparison(f"text:{field}" if version is None else f"version:{field}", operator, version or value)]
    found = [Comparison(f"number:{field}", operator, finite(value))]
    if (long := long_form(value)) is not None:
        found.insert(0, Comparison(f"long:{field}", operator, long))
    return found


def forms(value: Value) -> Iterator[tuple[str, str | float | bool]]:
    """By kind. A number that is none (NaN) is compared as nothing."""
    if isinstance(value, str):
        yield "text", value
        if (version := version_form(value)) is not None:
            yield "version", version
        if (truth := spelled_truth(value)) is not None:
            yield "bool", truth
        elif (number := spelled_number(value.strip())) is not None:
            yield from number_forms(number)
    elif isinstance(value, bool):
        yield "bool", value
    elif value == value:
        yield from number_forms(value)


def number_forms(number: float) -> Iterator[tuple[str, str | float]]:
    yield "number", finite(number)
    if (long := long_form(number)) is not None:
        yield "long", long


def finite(number: float) -> float:
    """As JSON has numbers, without the infinite ones."""
    try:
        return min(max(float(number), -sys.float_info.max), sys.float_info.max)
    except OverflowError:
        return sys.float_info.max if number > 0 else -sys.float_info.max


def long_form(number: float) -> str | None:
    """A whole number beyond the exact floating point ones as a text whose order is theirs; None of any other."""
    if not isinstance(number, int) or not FIRST_LONG <= abs(number) < MAX_LONG:
        return None
    digits = str(abs(number))
    return f"1{len(digits):02}{digits}" if number > 0 else f"0{99 - len(digits):02}{digits.translate(NINES)}"


def version_form(text: str) -> str | None:
    """A version such as 1.10 or v2.0.1 as a text whose order is that of versions; None of any other text."""
    if "." not in text or len(text) > MAX_NUMBER_CHARS:
        return None
    parts = text[text[:1] in ("v", "V") :].split(".")
    if not all(part.isascii() and part.isdecimal() for part in parts):
        return None
    shortest = [part.lstrip("0") or "0" for part in parts]
    return ".".join(f"{len(part):02}{part}" for part in shortest)
