from __future__ import annotations

import pytest

from farthing.toolkit.documents.document import FieldValue
from farthing.toolkit.stores.comparable import Form, comparable, long_form, long_place


def test_plain_values_are_kept_as_in_indexes_that_were_made_before_there_were_lists() -> None:
    metadata = {"a": "x", "b": "1.50", "c": 7, "d": True, "e": "FALSE", "f": 2**60, "g": "1.10.2", "h": float("nan")}
    assert comparable(metadata) == {
        "text:a": "x",
        "text:b": "1.50",
        "version:b": "011.0250",
        "number:b": 1.5,
        "number:c": 7.0,
        "bool:d": True,
        "text:e": "FALSE",
        "bool:e": False,
        "number:f": 2.0**60,
        "long:f": "1191152921504606846976",
        "text:g": "1.10.2",
        "version:g": "011.0210.012",
    }


@pytest.mark.parametrize(
    ("values", "forms"),
    [
        (["b", "a", "b"], {"texts:f": ["b", "a"], "least text:f": "a", "greatest text:f": "b"}),
        (
            [3, "x", -1.5, True],
            {
                "numbers:f": [3.0, -1.5],
                "least number:f": -1.5,
                "greatest number:f": 3.0,
                "texts:f": ["x"],
                "least text:f": "x",
                "greatest text:f": "x",
                "bools:f": [True],
                "least bool:f": True,
                "greatest bool:f": True,
            },
        ),
        ([float("nan")], {}),
        ([], {}),
    ],
)
def test_a_list_is_all_that_its_values_are_and_the_least_and_the_greatest(
    values: FieldValue, forms: dict[str, Form | list[Form]]
) -> None:
    assert comparable({"f": values}) == forms


def test_any_number_has_its_place_among_long_ones() -> None:
    long_ones = [-(10**63), -(2**53) - 1, -(2**53), 2**53, 2**53 + 1, 10**63]
    others = [-float("inf"), -1e300, -0.5, 0, 0.5, 7, 1e300, 10**400, *long_ones]
    for long in long_ones:
        form = long_form(long)
        assert form is not None
        for other in others:
            place = long_place(other)
            assert ((place < form), (place == form)) == ((other < long), (other == long)), (other, long)
