from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from farthing.core.space import VectorSpace
from farthing.serving.cache.entry import KEY_BYTES, namespace, text_keys

SPACE = VectorSpace("a-model", "0123456789abcdef", "last", 1024, normalized=True)
KEY = namespace(SPACE, 512)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def test_whatever_changes_a_vector_changes_the_namespace() -> None:
    others = [
        replace(SPACE, fingerprint="0123456789abcdef-int8"),
        replace(SPACE, pooling="mean"),
        replace(SPACE, dimensions=512),
    ]
    found = [KEY, namespace(SPACE, 1024), *(namespace(space, 512) for space in others)]
    assert len(set(found)) == len(found)


def test_a_models_name_does_not_count() -> None:
    assert namespace(replace(SPACE, model="an-alias"), 512) == KEY


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_keys_are_equal_when_prefix_and_text_are(prefix: str, text: str, other_prefix: str, other: str) -> None:
    same = (prefix, text) == (other_prefix, other)
    assert (text_keys(KEY, prefix)(text) == text_keys(KEY, other_prefix)(other)) == same


def test_a_prefix_is_not_taken_for_the_beginning_of_a_text() -> None:
    assert text_keys(KEY, "query: ")("cats") != text_keys(KEY, "query")(": cats") != text_keys(KEY, "")("query: cats")


def test_models_share_no_keys() -> None:
    assert text_keys(KEY, "")("cats") != text_keys(namespace(SPACE, 256), "")("cats")


def test_a_key_is_a_hash_without_the_text() -> None:
    key = text_keys(KEY, "")("a" * 1000)
    assert len(key) == KEY_BYTES
    assert b"aa" not in key


def test_a_prefix_that_is_no_text_has_a_key() -> None:
    assert text_keys(KEY, "\ud800")("cats") != text_keys(KEY, "")("cats")
