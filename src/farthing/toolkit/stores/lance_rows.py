"""What a passage is as a row of LanceDB, and what a condition is in its SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from farthing.toolkit.stores.comparable import Comparison, comparable, comparisons
from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.where import Condition, balanced, check_conditions

# What rows are found by, and all of a passage as JSON: every further column of a few rows takes a millisecond to read.
LOOKED_UP = ("id", "document", "digest")
SHOWN = "passage"


def schema(dimensions: int) -> Any:
    import pyarrow as pa

    kinds = {"metadata": pa.json_(), "vector": pa.list_(pa.float32(), dimensions)}
    names = (*LOOKED_UP, "metadata", "words", SHOWN, "vector")
    return pa.schema([pa.field(name, kinds.get(name, pa.string()), nullable=False) for name in names])


def table_of(passages: Sequence[Passage], words: Sequence[str], vectors: np.ndarray) -> Any:
    import pyarrow as pa

    metadata = pa.array([to_json(comparable(passage.metadata)) for passage in passages], pa.string())
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    columns: dict[str, Any] = {
        **{name: [getattr(passage, name) for passage in passages] for name in LOOKED_UP},
        "metadata": pa.ExtensionArray.from_storage(pa.json_(), metadata),
        "words": list(words),
        SHOWN: [to_json(vars(passage)) for passage in passages],
        "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
    }
    return pa.table(columns, schema=schema(vectors.shape[1]))


def to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def passage_of(row: Mapping[str, Any]) -> Passage:
    return Passage(**json.loads(row[SHOWN]))


def filtered(query: Any, where: Sequence[Condition]) -> Any:
    """Raises `InputError` for conditions beyond what a search takes."""
    check_conditions(where)
    return query.where(balanced(list(map(sql, where)), "AND"), prefilter=True) if where else query


def sql(condition: Condition) -> str:
    """The condition in DataFusion's SQL."""
    parts = list(map(comparison_sql, comparisons(condition)))
    return parts[0] if len(parts) == 1 else f"coalesce({', '.join(parts)})"


def comparison_sql(comparison: Comparison) -> str:
    """NULL where there is no such key. JSON functions fail on a value of another type: those of a key have one."""
    key, operator, value = comparison
    wanted = literal(value) if isinstance(value, str) else str(value).lower()
    return f"{value_sql(key)} {operator} {wanted}"


def having(keys: Sequence[str]) -> str:
    """What rows meet that have one of the keys."""
    return " OR ".join(f"{value_sql(key)} IS NOT NULL" for key in keys)


def value_sql(key: str) -> str:
    kind = {"bool": "bool", "number": "float"}.get(key.partition(":")[0], "string")
    return f"json_get_{kind}(metadata, {literal(key)})"


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def one_of(column: str, values: Sequence[str] | dict[str, str]) -> str:
    return f"{column} IN ({', '.join(map(literal, values))})"
