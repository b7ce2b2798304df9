"""Turns passages into rows of Milvus, and conditions into its filter expressions.

A row's key is made of the passage's document and its place in that document. So the same passage of a document takes
the same row, and the passages of a document follow each other in the order of keys, whatever documents are called.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from farthing.core.errors import InputError
from farthing.toolkit.stores.comparable import Comparison, comparable, comparisons
from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.where import Condition, balanced, check_conditions

# The most bytes of a VARCHAR or JSON field on a server; Milvus Lite would take more.
MAX_FIELD_BYTES = 65_535
# The field with the passage as JSON, and the fields that tell which documents are whole.
SHOWN = "passage"
PART = ("document", "digest", "num_passages")
# The values of LanceDB, whichever Milvus's own are.
BM25_K1, BM25_B = 1.2, 0.75
OPERATORS = {"=": "=="}


class RowPart(NamedTuple):
    """What one row holds of a document."""

    key: str
    document: str
    digest: str
    num_passages: int


def schema(dimensions: int) -> Any:
    from pymilvus import DataType, Function, FunctionType, MilvusClient

    made = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    made.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    made.add_field("document", DataType.VARCHAR, max_length=MAX_FIELD_BYTES)
    made.add_field("digest", DataType.VARCHAR, max_length=64)
    made.add_field("place", DataType.INT64)
    made.add_field("num_passages", DataType.INT64)
    made.add_field("metadata", DataType.JSON)
    made.add_field(SHOWN, DataType.VARCHAR, max_length=MAX_FIELD_BYTES)
    # Milvus Lite has no analyzer "whitespace"; `word_token` makes words that "standard" leaves as they are.
    made.add_field(
        "words",
        DataType.VARCHAR,
        max_length=MAX_FIELD_BYTES,
        enable_analyzer=True,
        analyzer_params={"tokenizer": "standard"},
    )
    made.add_field("word_weights", DataType.SPARSE_FLOAT_VECTOR)
    made.add_field("vector", DataType.FLOAT_VECTOR, dim=dimensions)
    made.add_function(Function("bm25", FunctionType.BM25, ["words"], ["word_weights"]))
    return made


def vector_indexes(is_lite: bool) -> Any:
    from pymilvus import MilvusClient

    wanted = MilvusClient.prepare_index_params()
    wanted.add_index("vector", index_name="vector", index_type="FLAT" if is_lite else "AUTOINDEX", metric_type="COSINE")
    wanted.add_index(
        "word_weights",
        index_name="word_weights",
        index_type="SPARSE_INVERTED_INDEX",
        metric_type="BM25",
        params={"params": {"bm25_k1": BM25_K1, "bm25_b": BM25_B}},  # Milvus Lite overlooks them unless they are nested
    )
    return wanted


def rows_of(passages: Sequence[Passage], words: Sequence[str], vectors: np.ndarray) -> Iterator[dict[str, Any]]:
    """The rows of whole documents. Raises `InputError` for a passage that is too long for a field of Milvus."""
    places: dict[str, int] = {}
    numbers: list[int] = []
    for passage in passages:
        numbers.append(places.get(passage.document, 0))
        places[passage.document] = numbers[-1] + 1
    for passage, place, spaced, vector in zip(passages, numbers, words, vectors, strict=True):
        fields = {
            "document": passage.document,
            "metadata": to_json(comparable(passage.metadata)),
            SHOWN: to_json(vars(passage)),
            "words": word_tokens(spaced),
        }
        for name, text in fields.items():
            check_length(passage, name, text)
        yield {
            **fields,
            "id": key_of(passage.document, place),
            "digest": passage.digest,
            "place": place,
            "num_passages": places[passage.document],
            "metadata": comparable(passage.metadata),
            "vector": np.asarray(vector, dtype=np.float32),
        }


def key_of(document: str, place: int) -> str:
    return f"{blake2b(document.encode(), digest_size=16).hexdigest()}-{place:08d}"


def check_length(passage: Passage, name: str, text: str) -> None:
    num_bytes = len(text.encode())
    if num_bytes > MAX_FIELD_BYTES:
        raise InputError(
            f"{passage.source or passage.document[:200]}: {name} of a passage takes {num_bytes:,} bytes, and a field "
            f"of Milvus holds {MAX_FIELD_BYTES:,}. Make the index anew with fewer --max-tokens, or shorten its fields.",
            param="input",
        )


def to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def passage_of(row: Mapping[str, Any]) -> Passage:
    return Passage(**json.loads(row[SHOWN]))


def word_tokens(words: str) -> str:
    """Words with spaces in between, as tokens that no analyzer cuts: each is ASCII letters and digits, or a digest."""
    return " ".join(map(word_token, words.split()))


def word_token(word: str) -> str:
    return word if word.isascii() and word.isalnum() else blake2b(word.encode(), digest_size=6).hexdigest()


def filter_of(where: Sequence[Condition]) -> str:
    """The filter expression of the conditions. Raises `InputError` for conditions beyond what a search takes."""
    check_conditions(where)
    return balanced(list(map(expression, where)), "and")


def expression(condition: Condition) -> str:
    """The expression of a condition. A document without the field meets none: on servers `!=` alone would find it."""
    return f"({' or '.join(map(first_expression, comparisons(condition)))})"


def first_expression(compared: Sequence[Comparison]) -> str:
    """The expression of the first comparison whose key a row has."""
    *before, last = compared
    found = comparison_expression(last)
    for comparison in reversed(before):
        found = f"({comparison_expression(comparison)} or (not exists {place_of(comparison.key)} and {found}))"
    return found


def comparison_expression(comparison: Comparison) -> str:
    place, value = place_of(comparison.key), comparison.value
    wanted = literal(value) if isinstance(value, str) else repr(value).lower()
    has = f"json_contains_any({place}, [{wanted}])"  # json_contains of Milvus Lite takes no negative number
    if comparison.operator == "has":
        return has
    if comparison.operator == "lacks":
        return f"(exists {place} and not {has})"
    return f"(exists {place} and {place} {OPERATORS.get(comparison.operator, comparison.operator)} {wanted})"


def having(keys: Sequence[str]) -> str:
    """The expression that rows with one of the keys meet."""
    return " or ".join(f"exists {place_of(key)}" for key in keys)


def place_of(key: str) -> str:
    return f"metadata[{literal(key)}]"


def literal(text: str) -> str:
    for plain_form, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain_form, escaped)
    return f'"{text}"'


def one_of(field: str, values: Collection[str]) -> str:
    return f"{field} in [{', '.join(map(literal, values))}]"
