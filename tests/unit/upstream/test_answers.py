"""Answers of other servers as bytes: what counts as one, and how tokens and scores are read from it."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.core.errors import SettingsError
from farthing.upstream.answer import AttemptFailedError
from farthing.upstream.client import UpstreamClient, parse_url, rest_s, words
from farthing.upstream.reranker import logits_of, read_scores
from farthing.upstream.vectors import NOTHING, Told, read_told, read_vectors, share_out

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "results", "index", "embedding", "score", "usage", "a"]), inner)
    ),
    max_leaves=12,
)


def answer(*rows: Any, **others: Any) -> bytes:
    return orjson.dumps({"data": [{"index": i, "embedding": row} for i, row in enumerate(rows)], **others})


def test_vectors_are_read_from_numbers_and_base64_in_the_order_of_their_index() -> None:
    as_text = base64.b64encode(np.array([3, 4], dtype="<f4").tobytes()).decode()
    data = [{"index": 1, "embedding": [1, 2.5]}, {"index": 0, "embedding": as_text}]
    found = read_vectors(orjson.dumps({"data": data}), 2)
    np.testing.assert_array_equal(found.rows, np.array([[3, 4], [1, 2.5]], dtype=np.float32))
    assert (found.rows.dtype, found.num_tokens, found.num_cached_tokens) == (np.float32, None, 0)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 7, "total_tokens": 7}, (7, 0)),
        ({"total_tokens": 7, "prompt_tokens_details": {"cached_tokens": 3}}, (7, 3)),
        ({"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": 30}}, (7, 7)),
        ({"prompt_tokens": 7, "prompt_tokens_details": "x"}, (7, 0)),
        ({"prompt_tokens": 0}, (None, 0)),
        ({"prompt_tokens": 10**18}, (None, 0)),
        ({"prompt_tokens": True}, (None, 0)),
        ({"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": True}}, (7, 0)),
        ({"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": -5}}, (7, 0)),
        ({"prompt_tokens": "7"}, (None, 0)),
        ("x", (None, 0)),
    ],
)
def test_usage_is_read_as_far_as_it_makes_sense(usage: Any, expected: tuple[int | None, int]) -> None:
    found = read_vectors(answer([1.0], usage=usage), 1)
    assert (found.num_tokens, found.num_cached_tokens) == expected


@given(JSON | st.binary(max_size=20))
def test_whatever_else_is_answered_is_a_failed_attempt(content: Any) -> None:
    raw = content if isinstance(content, bytes) else orjson.dumps(content)
    with pytest.raises(AttemptFailedError):
        read_vectors(raw, 3)
    with pytest.raises(AttemptFailedError):
        read_scores(raw, 4)


@given(st.integers(0, 10_000), st.lists(st.integers(1, 10_000), min_size=1, max_size=40))
def test_shares_add_up_and_follow_the_weights(total: int, weights: list[int]) -> None:
    parts = share_out(total, weights)
    assert (sum(parts), len(parts), min(parts) >= 0) == (total, len(weights), True)
    assert all(abs(part - total * weight / sum(weights)) <= 1 for part, weight in zip(parts, weights, strict=True))


def test_scores_come_in_both_shapes_and_become_logits() -> None:
    cohere = {"results": [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 1.0}]}
    tei = [{"index": 1, "score": 0.5}, {"index": 0, "score": 1.0}]
    for content in (cohere, tei):
        logits = logits_of(read_scores(orjson.dumps(content), 2))
        assert (logits[1], logits.dtype) == (0, np.float32)
        assert 10 < logits[0] < 20
    with pytest.raises(AttemptFailedError, match="upstream_scores"):
        logits_of(np.array([0.5, 1.5]))


@pytest.mark.parametrize(
    "content",
    [
        *({"error": {"message": "why"}}, {"error": "why"}, {"message": "why"}, {"detail": "why"}, "why"),
        {"detail": [{"type": "string_too_long", "loc": ["body"], "msg": "why", "input": "long"}, {"msg": "else"}]},
    ],
)
def test_an_errors_words_are_found_in_every_usual_shape(content: Any) -> None:
    assert words(httpx.Response(400, json=content)) == "why"


def test_words_that_are_no_json_are_shown_in_part() -> None:
    assert words(httpx.Response(500, text="<html>" * 1000)) == ("<html>" * 1000)[:300]


@given(st.text(alphabet="0123456789,. -²x", max_size=8))
def test_any_list_of_cut_texts_is_read_as_far_as_it_makes_sense(listed: str) -> None:
    told = read_told({"x-farthing-space": "a", "x-farthing-truncated": listed}, 12)
    found = {item.lstrip("0") or "0" for item in listed.split(",") if item and set(item) <= set("0123456789")}
    assert told.truncated == tuple(index for index in range(12) if str(index) in found)


def test_only_a_farthing_tells_and_what_it_says_is_made_short_and_ascii() -> None:
    assert read_told({"x-farthing-truncated": "0"}, 3) == NOTHING
    told = read_told({"x-farthing-space": "a", "x-farthing-warning": "£" + "a" * 1000}, 3)
    assert told == Told("a", (), ("?" + "a" * 499,))


@pytest.mark.parametrize(("value", "expected"), [("3", 3), ("0.5", 0.5), ("-1", 0), ("soon", 1), (None, 1)])
def test_retry_after_is_read_as_seconds(value: str | None, expected: float) -> None:
    assert rest_s(httpx.Response(429, headers={} if value is None else {"retry-after": value})) == expected


@pytest.mark.parametrize("url", ["", "host:80", "ftp://host/v1", "http://", "http://host:port"])
def test_what_is_no_url_is_a_setting_that_is_wrong(url: str) -> None:
    with pytest.raises(SettingsError, match="upstream"):
        parse_url(url)


def test_the_name_of_an_upstream_holds_nothing_secret() -> None:
    client = UpstreamClient("http://me:secret@host:80/a/v1/?key=secret", httpx.AsyncClient(), 1.0)
    assert client.name == "http://host/a/v1"
    assert client.root.path == "/a"
