"""Conditions on the fields of documents: `shop = books`, `price <= 20`, `in_print = true`.

Conditions come from clients. So their number and length have limits, they are read from left to right without regular
expressions, and a filter of them nests only as deep as the logarithm of their number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Literal, NamedTuple, cast, get_args

from farthing.core.errors import InputError
from farthing.toolkit.documents.document import Value

Operator = Literal["=", "!=", "<", "<=", ">", ">="]

MAX_CONDITIONS = 64
MAX_CONDITION_CHARS = 4_096
# The length of a number as it is written. A number of more digits would not be told from its neighbours anyway.
MAX_NUMBER_CHARS = 64
SHOWN_CHARS = 80
OPERATOR_MARKS = "=!<>"
# Longer ones first; "==" is another name of "=".
WRITTEN_OPERATORS = ("<=", ">=", "!=", "==", "=", "<", ">")
TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
NULLS = ("null", "Null", "NULL")
QUOTES = "\"'"


class Condition(NamedTuple):
    """A condition on a field. A document without the field meets no condition, not even `!=`.

    If the field holds a list, one of its values has to meet the condition; `!=` is met when none of them is the value.
    """

    field: str
    operator: Operator
    value: Value


def parse_conditions(texts: Sequence[str]) -> list[Condition]:
    """Parse several conditions. Raises `InputError` as `parse_condition` does, and for more than `MAX_CONDITIONS`."""
    check_number(len(texts))
    return [parse_condition(text) for text in texts]


def parse_condition(text: str) -> Condition:
    """Parse `FIELD OPERATOR VALUE`. A value is a number, true or false, or else a text, with quotes or without.

    In quotes, a backslash before a quote or another backslash makes that character literal; null without quotes is no
    value. Raises `InputError` for anything else.
    """
    if len(text) > MAX_CONDITION_CHARS:
        raise InputError(
            f"A condition has {len(text):,} characters ({shown(text)}); at most {MAX_CONDITION_CHARS:,} are taken. "
            "Shorten it.",
            param="where",
        )
    place = next((place for place, char in enumerate(text) if char in OPERATOR_MARKS), len(text))
    written = next((mark for mark in WRITTEN_OPERATORS if text.startswith(mark, place)), "")
    field, value = text[:place].strip(), text[place + len(written) :].strip()
    if not (field and written and value) or (not is_quoted(value) and any(mark in value for mark in OPERATOR_MARKS)):
        raise InputError(
            f"{shown(text)} is no condition. Give FIELD OPERATOR VALUE, such as: price <= 20, shop = books, "
            "in_print = true; operators are = != < <= > >=. Several conditions are given one by one, and all must "
            "hold; a value with one of these marks in it needs quotes.",
            param="where",
        )
    if value in NULLS:
        raise InputError(
            f"{shown(text)} asks for {value}, which is no value here: a document whose field is missing or null meets "
            f'no condition on it, neither = nor !=. To compare with the text, put it into quotes: "{value}".',
            param="where",
        )
    return Condition(field, cast("Operator", "=" if written == "==" else written), value_of(value))


def value_of(text: str) -> Value:
    """The value that a text spells. Raises `InputError` for a number that is too large, and for a quote within
    quotes."""
    if is_quoted(text):
        return unquoted(text)
    if (truth := spelled_truth(text)) is not None:
        return truth
    if not is_number(text):
        return text
    if len(text) > MAX_NUMBER_CHARS:
        raise InputError(
            f"{shown(text)} has {len(text):,} characters; a number has at most {MAX_NUMBER_CHARS}. Round it, or put it "
            "into quotes to compare it as a text.",
            param="where",
        )
    number = number_of(text)
    check_finite(number, text)
    return number


def is_quoted(text: str) -> bool:
    return len(text) >= 2 and text[0] == text[-1] and text[0] in QUOTES


def unquoted(text: str) -> str:
    """The text between the quotes. Any other backslash, as in "C:\\temp", stays a backslash.

    Raises `InputError` where the quotes do not enclose all of the text.
    """
    quote, place = text[0], 1
    found: list[str] = []
    while place < len(text) - 1:
        if text[place] == quote:
            break
        if text[place] == "\\" and text[place + 1] in ("\\", *QUOTES):
            place += 1
        found.append(text[place])
        place += 1
    if place != len(text) - 1:
        raise InputError(
            f"The quotes of {shown(text)} do not enclose all of the value. Write \\{quote} for a quote inside of them, "
            "and \\\\ for a backslash that stands before a quote. Several conditions are given one by one.",
            param="where",
        )
    return "".join(found)


def spelled_truth(text: str) -> bool | None:
    """True for `true`, `True` and `TRUE`, False for the same spellings of false; None for any other text."""
    return TRUTHS.get(text)


def spelled_number(text: str) -> int | float | None:
    """The number that a text spells; None for any other text, and for a number that is too large or too long."""
    if len(text) > MAX_NUMBER_CHARS or not is_number(text):
        return None
    number = number_of(text)
    return number if is_finite(number) else None


def is_number(text: str) -> bool:
    """Whether a text is digits, with or without sign, fraction and exponent. 007 is a code, not the number 7."""
    mantissa, mark, exponent = text.replace("E", "e").partition("e")
    whole, point, fraction = unsigned(mantissa).partition(".")
    return (
        (whole.isdecimal() or (not whole and bool(point)))
        and (len(whole) < 2 or int(whole[0]) != 0)
        and (fraction.isdecimal() if point else True)
        and (unsigned(exponent).isdecimal() if mark else True)
    )


def number_of(text: str) -> int | float:
    return float(text) if any(mark in text for mark in ".eE") else int(text)


def unsigned(text: str) -> str:
    return text[1:] if text[:1] in ("-", "+") else text


def check_conditions(where: Sequence[Condition]) -> None:
    """Raise `InputError` for conditions that `parse_conditions` would not give; a program may make others."""
    check_number(len(where))
    for field, operator, value in where:
        if operator not in get_args(Operator):
            raise InputError(f"{shown(operator)} is no operator; there are = != < <= > >=.", param="where")
        length = len(field) + (len(value) if isinstance(value, str) else 0)
        if length > MAX_CONDITION_CHARS:
            raise InputError(
                f"A condition on {shown(field)} has {length:,} characters; at most {MAX_CONDITION_CHARS:,} are taken. "
                "Shorten it.",
                param="where",
            )
        check_kind(field, value)
        if not isinstance(value, str):
            check_finite(value, "A number")


def check_kind(field: str, value: object) -> None:
    if not isinstance(value, (str, Real)):  # numpy's numbers are `Real` too
        raise InputError(
            f"A condition on {shown(field)} has a value of type {type(value).__name__}; it must be a text, a number or "
            "a truth value. A document without the field meets no condition on it.",
            param="where",
        )


def check_number(num: int) -> None:
    if num > MAX_CONDITIONS:
        raise InputError(
            f"There are {num:,} conditions; a search takes at most {MAX_CONDITIONS}. Leave some out.", param="where"
        )


def check_finite(number: float, written: str) -> None:
    if not is_finite(number):
        raise InputError(
            f"{shown(written)} is no number that values can be compared with. Give one of at most 1.79e308.",
            param="where",
        )


def is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number beyond all floating point numbers
        return False


def shown(text: str) -> str:
    return repr(text) if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]!r} ..."


def balanced(parts: Sequence[str], word: str) -> str:
    """All expressions with a word such as AND in between, in brackets that nest as little as possible."""
    if len(parts) <= 2:
        return f" {word} ".join(parts)
    half = len(parts) // 2
    return f"({balanced(parts[:half], word)}) {word} ({balanced(parts[half:], word)})"
