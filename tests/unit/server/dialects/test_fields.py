"""The rule for fields of other servers' clients, apart from any route."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from farthing.core.errors import InputError
from farthing.server.dialects.fields import MAX_LOGGED, FieldRules, Fitted, listed, nearest, refuse_unknown

KNOWN = ("input", "model", "dimensions", "normalize", "truncate", "input_type")


def fit(content: dict[str, Any], rules: FieldRules | None = None) -> Fitted:
    return (rules or FieldRules()).fit(content, KNOWN, "/v1/embeddings")


def test_what_is_known_stays_and_other_names_are_ours() -> None:
    fitted = fit({"input": "a", "output_dimension": 8, "normalized": True, "task": "retrieval.query", "model": None})
    assert fitted.content == {
        "input": "a",
        "dimensions": 8,
        "normalize": True,
        "input_type": "query",
        "model": None,
    }
    assert fitted.sent_as == {"dimensions": "output_dimension", "normalize": "normalized", "input_type": "task"}
    assert fitted.ignored == ()


@pytest.mark.parametrize(
    "content",
    [
        {"metadata": {"a": [1]}, "user": 3, "litellm_anything": 1, "user_api_key_alias": "x", "no-log": True},
        {"late_chunking": False, "modality": "text", "add_special_tokens": True, "truncation_side": "right"},
        {"late_chunking": None, "images": None, "output_dimension": None, "task": "text-matching"},
    ],
)
def test_what_means_nothing_leaves_nothing_behind(content: dict[str, Any]) -> None:
    assert fit(content).content == {}
    assert fit(content).ignored == ()
    FieldRules(refuses_unknown=True).fit(content, KNOWN, "/")


def test_the_same_said_twice_is_taken_and_different_things_are_not() -> None:
    for content in ({"dimensions": 8, "output_dimension": 8}, {"output_dimension": 8, "dimensions": 8}):
        assert fit(content).content == {"dimensions": 8}
    assert fit({"dimensions": None, "output_dimension": 8}).content["dimensions"] == 8
    with pytest.raises(InputError, match="'output_dimension' and 'dimensions' say different things"):
        fit({"dimensions": 8, "output_dimension": 9})
    with pytest.raises(InputError, match="say different things"):
        fit({"truncate": False, "truncation": True})


@pytest.mark.parametrize(
    ("name", "value"),
    [("late_chunking", True), ("late_chunking", 0), ("modality", "image"), ("images", ["x"]), ("image", "x")],
)
def test_what_is_not_done_is_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"'{name}' asks for what this server does not do") as caught:
        fit({"input": "a", name: value})
    assert caught.value.param == name


def test_names_are_near_by_spelling_or_by_a_table() -> None:
    near = {name: nearest(name, KNOWN) for name in ("inputs", "Dimensions", "dims", "texts", "normalise", "truncat")}
    near["encoding"] = nearest("encoding", (*KNOWN, "encoding_format"))
    assert near == {
        "inputs": "input",
        "Dimensions": "dimensions",
        "dims": "dimensions",
        "texts": "input",
        "normalise": "normalize",
        "truncat": "truncate",
        "encoding": "encoding_format",
    }
    far = ("model_name", "encoding_format_of_mine", "x" * 100_000, "", "é", "truncation_limit")
    assert [nearest(name, KNOWN) for name in far] == [None] * len(far)


def test_a_null_is_no_mistake() -> None:
    assert fit({"dims": None}).ignored == ("dims",)
    with pytest.raises(InputError):
        fit({"dims": 3})


def test_the_number_of_fields_bounds_the_work() -> None:
    started = time.monotonic()
    fit({f"{'dimension' * 6}{number}": 1 for number in range(1000)})
    assert time.monotonic() - started < 20
    with pytest.raises(InputError, match="1,001 fields"):
        fit({f"f{number}": 1 for number in range(1001)})
    with pytest.raises(InputError, match="200,000 fields"):
        refuse_unknown({f"f{number}": 1 for number in range(200_000)}, KNOWN)


def test_names_are_shown_in_plain_words() -> None:
    assert listed(["a", "b\r\nc", "é", 'x"y', "z" * 100]) == f"a, b??c, ?, x?y, {'z' * 64}"
    assert listed([f"f{n}" for n in range(20)]).endswith("f15, and 4 more")


def test_the_log_has_an_end(caplog: pytest.LogCaptureFixture) -> None:
    rules = FieldRules()
    for number in range(10 * MAX_LOGGED):
        fit({f"unknown{number}": 1}, rules)
    assert len(caplog.records) == MAX_LOGGED
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_our_own_routes_tell_all_unknown_names() -> None:
    refuse_unknown({"input": 1}, KNOWN)
    with pytest.raises(InputError, match=r"Unknown parameters 'metadata', 'inputs'\. Did you mean 'input' by"):
        refuse_unknown({"metadata": 1, "inputs": 2}, KNOWN)
