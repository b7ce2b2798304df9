"""What a value of a record says as a field of a document: one rule for files, programs, and clients of a server.

In: values as JSON, Parquet or Python has them. Out: the words of an id or a title, and the fields that say something. A
whole number as an id is its decimal text, 0 too, so that a document is found again by the number or by the text. Null
says nothing: it is as if the field were left out, in metadata and in lists as well. So is a list of nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def words_of(value: object) -> str:
    """Of an id, a title or a source; empty for null."""
    return "" if value is None else str(value)


def said(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say something, lists and tuples as lists of what is not null in them."""
    found = {name: without_null(value) for name, value in fields.items() if value is not None}
    return {name: value for name, value in found.items() if not isinstance(value, list) or value}


def without_null(value: Any) -> Any:
    return [item for item in value if item is not None] if isinstance(value, (list, tuple)) else value
