"""Conditions on the fields of documents: `shop = books`, `price <= 20`, `in_print = true`."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, cast

from farthing.core.errors import InputError
from farthing.toolkit.documents.document import Value

Operator = Literal["=", "!=", "<", "<=", ">", ">="]

CONDITION = re.compile(
    r"\s*(?P<field>[^=!<>]*[^=!<>\s])\s*(?P<operator><=|>=|!=|==|=|<|>)\s*(?P<value>.*?)\s*", re.DOTALL
)
QUOTED = re.compile(r"\"(.*)\"|'(.*)'", re.DOTALL)
NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")


class Condition(NamedTuple):
    """A document without the field meets none, not even `!=`."""

    field: str
    operator: Operator
    value: Value


def parse_condition(text: str) -> Condition:
    """Of `FIELD OPERATOR VALUE`. A value is a number, true or false, or else a text, with quotes or without.

    Raises `InputError` for anything else.
    """
    found = CONDITION.fullmatch(text)
    if found is None or not found["value"]:
        raise InputError(
            f"{text!r} is no condition. Give FIELD OPERATOR VALUE, such as: price <= 20, shop = books, "
            "in_print = true; operators are = != < <= > >=.",
            param="where",
        )
    operator = "=" if found["operator"] == "==" else found["operator"]
    return Condition(found["field"], cast("Operator", operator), value_of(found["value"]))


def value_of(text: str) -> Value:
    quoted = QUOTED.fullmatch(text)
    if quoted:
        return quoted[1] if quoted[1] is not None else quoted[2]
    if text in ("true", "false"):
        return text == "true"
    if NUMBER.fullmatch(text):
        return float(text) if any(mark in text for mark in ".eE") else int(text)
    return text
