"""Turns passages into rows of LanceDB, and conditions into its SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from farthing.toolkit.stores.comparable import Comparison, Form, comparable, comparisons
from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.where import Condition, balanced, check_conditions

# The columns that rows are found by, and the column with all of a passage as JSON: every further column of a few rows
# takes a millisecond to read.
LOOKED_UP = ("id", "document", "digest")
SHOWN = "passage"
ROWS_AT_A_TIME = 256
# The endings of the names of LanceDB's functions, by the kind of value.
GETTERS = {"text": "_string", "version": "_string", "long": "_string", "number": "_float", "bool": "_bool"}


def schema(dimensions: int) -> Any:
    import pyarrow as pa

    kinds = {"metadata": pa.json_(), "vector": pa.list_(pa.float32(), dimensions)}
    names = (*LOOKED_UP, "metadata", "words", SHOWN, "vector")
    return pa.schema([pa.field(name, kinds.get(name, pa.string()), nullable=False) for name in names])


def table_of(passages: Sequence[Passage], words: Sequence[str], vectors: np.ndarray) -> Any:
    """The passages as a table, made in parts, since pyarrow holds the interpreter's lock while it reads a list of
    strings."""
    import pyarrow as pa

    columns = schema(vectors.shape[1])
    parts = [slice(start, start + ROWS_AT_A_TIME) for start in range(0, len(passages), ROWS_AT_A_TIME)]
    return pa.concat_tables([part_of(passages[part], words[part], vectors[part], columns) for part in parts])


def part_of(passages: Sequence[Passage], words: Sequence[str], vectors: np.ndarray, schema: Any) -> Any:
    import pyarrow as pa

    metadata = pa.array([to_json(looked_up(comparable(passage.metadata))) for passage in passages], pa.string())
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    columns: dict[str, Any] = {
        **{name: [getattr(passage, name) for passage in passages] for name in LOOKED_UP},
        "metadata": pa.ExtensionArray.from_storage(pa.json_(), metadata),
        "words": list(words),
        SHOWN: [to_json(vars(passage)) for passage in passages],
        "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
    }
    return pa.table(columns, schema=schema)


def looked_up(fields: Mapping[str, Form | list[Form]]) -> dict[str, Any]:
    """The fields, with each list as an object that has the list's values as names. LanceDB looks for a name as it is,
    but in a list for a value as JSON, written as LanceDB writes it."""
    return {
        key: {name_of(item): True for item in value} if isinstance(value, list) else value
        for key, value in fields.items()
    }


def name_of(value: Form) -> str:
    """The name for a value in a list; no two values of one kind have the same."""
    return value if isinstance(value, str) else repr(value + 0.0)  # -0.0 is 0.0


def to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def passage_of(row: Mapping[str, Any]) -> Passage:
    return Passage(**json.loads(row[SHOWN]))


def filtered(query: Any, where: Sequence[Condition]) -> Any:
    """The query with the conditions. Raises `InputError` for conditions beyond what a search takes."""
    check_conditions(where)
    return query.where(balanced(list(map(sql, where)), "AND"), prefilter=True) if where else query


def sql(condition: Condition) -> str:
    """The condition in DataFusion's SQL."""
    return f"({' OR '.join(map(first_sql, comparisons(condition)))})"


def first_sql(compared: Sequence[Comparison]) -> str:
    """The SQL of the first comparison whose key a row has."""
    *before, last = compared
    found = comparison_sql(last)
    for comparison in reversed(before):
        found = f"({comparison_sql(comparison)} OR ({value_sql(comparison.key)} IS NULL AND {found}))"
    return found


def comparison_sql(comparison: Comparison) -> str:
    """The SQL of a comparison: NULL or false where there is no such key. JSON functions fail on a value of another
    type, but all values of a key have one type."""
    key, operator, value = comparison
    if operator in ("has", "lacks"):
        held = f"json_get({value_sql(key)}, {literal(name_of(value))})"
        return f"{held} IS NOT NULL" if operator == "has" else f"({value_sql(key)} IS NOT NULL AND {held} IS NULL)"
    wanted = literal(value) if isinstance(value, str) else str(value).lower()
    return f"{value_sql(key)} {operator} {wanted}"


def having(keys: Sequence[str]) -> str:
    """The SQL that rows with one of the keys meet."""
    return " OR ".join(f"{value_sql(key)} IS NOT NULL" for key in keys)


def value_sql(key: str) -> str:
    """The SQL of a key's value; for a list it is the JSON."""
    kind = key.partition(":")[0].split(" ")[-1]
    return f"json_get{GETTERS.get(kind, '')}(metadata, {literal(key)})"


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def one_of(column: str, values: Sequence[str] | dict[str, str]) -> str:
    return f"{column} IN ({', '.join(map(literal, values))})"
