from __future__ import annotations

import pytest

from farthing.core.sizes import parse_bytes


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("6GB", 6 * 10**9),
        ("6 gb", 6 * 10**9),
        ("1.5GiB", 3 * 2**29),
        ("900MiB", 900 * 2**20),
        (" 10kb ", 10_000),
        ("2TiB", 2**41),
        ("7B", 7),
    ],
)
def test_a_number_and_a_unit_are_bytes(text: str, num_bytes: int) -> None:
    assert parse_bytes(text) == num_bytes


@pytest.mark.parametrize("text", ["6", "GB", "-1GB", "6G", "6ib", "1e9B", "six GB", "6GB8", "", "\u0666GB", "nan GB"])
def test_anything_else_is_no_size(text: str) -> None:
    assert parse_bytes(text) is None
