from __future__ import annotations

import pytest

from farthing.core.errors import InputError
from farthing.toolkit.stores.where import Condition, parse_condition


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("price <= 20", Condition("price", "<=", 20)),
        ("price>=-2.5e1", Condition("price", ">=", -25.0)),
        ("in stock = true", Condition("in stock", "=", True)),
        ("shop == books and more", Condition("shop", "=", "books and more")),
        ("shop != 'a = \"b\"'", Condition("shop", "!=", 'a = "b"')),
        ('year = "2024"', Condition("year", "=", "2024")),
        ("名前 = 東京", Condition("名前", "=", "東京")),
        ("note = ''", Condition("note", "=", "")),
        ("a<b", Condition("a", "<", "b")),
    ],
)
def test_a_condition_is_read_as_it_is_written(text: str, condition: Condition) -> None:
    found = parse_condition(text)
    assert found == condition
    assert type(found.value) is type(condition.value)


@pytest.mark.parametrize("text", ["", "price", "= 3", "price =", "price ~ 3", "price = "])
def test_what_is_no_condition_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match="FIELD OPERATOR VALUE"):
        parse_condition(text)
