from __future__ import annotations

from typing import Any

import pytest

from farthing import Document
from farthing.toolkit.documents.document import PLAIN_TEXT


def test_what_is_none_is_as_if_it_were_left_out() -> None:
    nothing: Any = None
    metadata: Any = {"a": None, "b": 0, "tags": ["x", None, "y"], "empty": [], "nulls": [None], "pair": (1, "z")}
    document = Document(nothing, "text", nothing, nothing, kind=nothing, metadata=metadata)
    assert document == Document("", "text", metadata={"b": 0, "tags": ["x", "y"], "pair": [1, "z"]})
    assert document.kind == PLAIN_TEXT
    assert Document("a", "x", metadata=nothing).digest() == Document("a", "x").digest()


@pytest.mark.parametrize("number", [0, 7])
def test_a_number_as_an_id_is_its_text(number: Any) -> None:
    assert Document(number, "x") == Document(str(number), "x")


def test_the_order_of_a_list_counts() -> None:
    one, other = (Document("a", "x", metadata={"tags": tags}) for tags in (["x", "y"], ["y", "x"]))
    assert one.digest() != other.digest()
