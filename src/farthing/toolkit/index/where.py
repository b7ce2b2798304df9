"""Conditions on the fields of documents: `shop = books`, `price <= 20`."""

from __future__ import annotations

from typing import Literal, NamedTuple

from farthing.toolkit.index.passage import Value

Operator = Literal["=", "!=", "<", "<=", ">", ">="]


class Condition(NamedTuple):
    """A document without the field meets none, not even `!=`."""

    field: str
    operator: Operator
    value: Value
