"""The normaliser of a tokenizer.json becomes what tokenizer_config.json says, and is found without its vocabulary."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farthing.checkpoint.tokenizer_file import as_configured, normalizer_of

BERT = {"type": "BertNormalizer", "lowercase": True, "strip_accents": None, "handle_chinese_chars": True}
CASED = {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
# A token, an added token and a text that bear the name, before and after the place that counts.
NAMED = {
    "added_tokens": [{"content": "normalizer", "normalized": False}, {"content": '"normalizer": {"type": 1}'}],
    "normalizer": BERT,
    "model": {"vocab": {"normalizer": 7, '"normalizer":': 8}},
}


def written(content: dict[str, Any], **style: Any) -> bytes:
    return json.dumps(content, **style).encode()


@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"separators": (",", ":")}, {"sort_keys": True}], ids=str)
def test_the_normaliser_is_found(style: dict[str, Any]) -> None:
    assert normalizer_of(written(NAMED, **style)) == BERT


@pytest.mark.parametrize("normalizer", [None, {"type": "Sequence", "normalizers": [BERT]}, {}])
def test_another_one_is_left_as_it_is(normalizer: object) -> None:
    content = written({**NAMED, "normalizer": normalizer})
    assert normalizer_of(content) is None
    assert as_configured(content, CASED) == content


def test_only_the_normaliser_is_changed() -> None:
    changed = json.loads(as_configured(written(NAMED), CASED))
    assert changed == {**NAMED, "normalizer": {**BERT, "lowercase": False}}


@pytest.mark.parametrize("config", [{**CASED, "do_lower_case": True}, {**CASED, "tokenizer_class": "Other"}, None, []])
def test_what_agrees_or_says_nothing_stays(config: object) -> None:
    content = written(NAMED)
    assert as_configured(content, config) is content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b'{"normalizer": ',
        b'{"normalizer": {"type": "BertNormalizer"',
        b'{"normalizer": ' + b'{"normalizer": ' * 100_000,
        b'{"normalizer": {"type": "BertNormalizer", "lowercase": true}, "model": ',
        b'[{"normalizer": {"type": "BertNormalizer", "lowercase": true}}]',
    ],
    ids=lambda content: content[:24].decode(errors="replace"),
)
def test_damaged_files_are_left_to_the_library(content: bytes) -> None:
    assert as_configured(content, CASED) == content
