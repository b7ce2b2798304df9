"""Turns the values of a record into fields of a document: one rule for files, programs, and clients of a server.

In: values as JSON, Parquet or Python has them. Out: the words of an id or a title, and the fields that say something. A
whole number as an id, 0 too, becomes its decimal text, so that a document is found again by the number or by the text.
Null says nothing and counts as left out, in metadata and in lists as well. So does an empty list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def words_of(value: object) -> str:
    """The text of an id, a title or a source; empty for null."""
    return "" if value is None else str(value)


def said(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say something. Lists and tuples become lists of their values that are not null."""
    found = {name: without_null(value) for name, value in fields.items() if value is not None}
    return {name: value for name, value in found.items() if not isinstance(value, list) or value}


def without_null(value: Any) -> Any:
    return [item for item in value if item is not None] if isinstance(value, (list, tuple)) else value
