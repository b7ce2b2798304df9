"""Bodies: how many values they have, and that long lists of wrong items cost little."""

from __future__ import annotations

import json
import random
import tracemalloc
from typing import Any

import pytest
from pydantic import Field

from farthing.core.errors import InputError, RequestTooLargeError
from farthing.server.dialects.fields import Fitted
from farthing.server.http import body
from farthing.server.http.body import Body, as_schema, has_more_values, parse_large


def num_values(content: Any) -> int:
    """Separators of JSON, counted by walking: colons and opening brackets twice."""
    if isinstance(content, dict):
        return 2 + max(0, len(content) - 1) + 2 * len(content) + sum(map(num_values, content.values()))
    if isinstance(content, list):
        return 2 + max(0, len(content) - 1) + sum(map(num_values, content))
    return 0


def made_up(source: random.Random, depth: int = 0) -> Any:
    kind = source.randrange(6 if depth < 4 else 3)
    if kind == 0:
        return source.randrange(1000)
    if kind < 3:
        return "".join(source.choices('a,[{:"\\é\n', k=source.randrange(12)))
    if kind == 3:
        return {f"k{n},{n}": made_up(source, depth + 1) for n in range(source.randrange(4))}
    return [made_up(source, depth + 1) for _ in range(source.randrange(6))]


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 2**20])
def test_values_are_counted_outside_of_strings_alone(piece_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "PIECE_BYTES", piece_bytes)
    source = random.Random(piece_bytes)
    for _ in range(60):
        content = [made_up(source), made_up(source)]
        raw = json.dumps(content, ensure_ascii=source.random() < 0.5).encode()
        if source.random() < 0.5:
            raw = json.dumps(content, separators=(",", ":")).encode()
        count = num_values(content)
        assert has_more_values(raw, count - 1), raw
        assert not has_more_values(raw, count), raw


def test_a_body_of_too_many_values_is_refused_before_it_is_parsed() -> None:
    numbers = b'{"input": [' + b",".join([b"1"] * 2000) + b"]}"
    with pytest.raises(RequestTooLargeError, match=r"more than 2,004 JSON values.*--max-body-values"):
        parse_large(numbers, 2004)
    assert len(parse_large(numbers, 2005)["input"]) == 2000
    texts = json.dumps({"input": ["a,b,c,[[[" * 1000]}).encode()
    assert parse_large(texts, 10)["input"][0].startswith("a,b,c")


def test_an_object_of_very_many_fields_is_refused() -> None:
    raw = json.dumps({"documents": [{}, {f"f{n}": n for n in range(2000)}]}).encode()
    with pytest.raises(InputError, match=r"'documents\[1\]' has 2,000 fields"):
        parse_large(raw, 100_000)


class Part(Body):
    text: str


class Lists(Body):
    ids: list[str] = Field(default_factory=list)
    parts: list[Part] = Field(default_factory=list)
    table: dict[str, int] = Field(default_factory=dict)


@pytest.mark.parametrize(
    "wrong", [{"ids": [1] * 300_000}, {"parts": [{}] * 300_000}, {"table": {str(n): "x" for n in range(300_000)}}]
)
def test_the_first_wrong_item_of_a_list_is_the_only_error_that_is_made(wrong: dict[str, Any]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"'(ids\[0\]|parts\[0\]\.text|table\.0)'"):
            as_schema(Fitted(wrong, {}, ()), Lists)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_very_long_name_is_shown_in_part() -> None:
    with pytest.raises(InputError) as caught:
        as_schema(Fitted({"x" * 1_000_000: 1}, {}, ()), Lists)
    assert len(str(caught.value)) < 300
