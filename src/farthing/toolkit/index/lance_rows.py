"""What a passage is as a row of LanceDB, and what a condition is in its SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from farthing.toolkit.documents.document import Value
from farthing.toolkit.index.passage import Passage
from farthing.toolkit.index.where import Condition

SHOWN = ("id", "document", "digest", "text", "title", "source", "heading", "start", "end", "metadata")


def schema(dimensions: int) -> Any:
    import pyarrow as pa

    kinds = {"start": pa.int64(), "end": pa.int64(), "metadata": pa.json_()}
    columns = [pa.field(name, kinds.get(name, pa.string()), nullable=False) for name in SHOWN]
    vector = pa.field("vector", pa.list_(pa.float32(), dimensions), nullable=False)
    return pa.schema([*columns, pa.field("words", pa.string(), nullable=False), vector])


def table_of(passages: Sequence[Passage], words: Sequence[str], vectors: np.ndarray) -> Any:
    import pyarrow as pa

    columns: dict[str, Any] = {
        name: [getattr(passage, name) for passage in passages] for name in SHOWN if name != "metadata"
    }
    metadata = pa.array([json.dumps(typed(passage.metadata), ensure_ascii=False) for passage in passages], pa.string())
    columns["metadata"] = pa.ExtensionArray.from_storage(pa.json_(), metadata)
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    columns["words"] = list(words)
    return pa.table(columns, schema=pa.schema([schema(vectors.shape[1]).field(name) for name in columns]))


def passage_of(row: dict[str, Any]) -> Passage:
    fields = {name: row[name] for name in SHOWN}
    metadata = {name.partition(":")[2]: value for name, value in json.loads(row["metadata"]).items()}
    return Passage(**{**fields, "metadata": metadata})


def typed(metadata: Mapping[str, Value]) -> dict[str, Value]:
    """Names begin with the type of their value: JSON functions of SQL fail on a value of another type than theirs."""
    return {f"{kind_of(value)[0]}:{name}": value for name, value in metadata.items()}


def kind_of(value: Value) -> str:
    return "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "float"


def filtered(query: Any, where: Sequence[Condition]) -> Any:
    return query.where(" AND ".join(map(sql, where)), prefilter=True) if where else query


def sql(condition: Condition) -> str:
    """The condition in DataFusion's SQL. A value of another type than the condition's meets none."""
    kind = kind_of(condition.value)
    value = literal(condition.value) if isinstance(condition.value, str) else str(condition.value).lower()
    return f"json_get_{kind}(metadata, {literal(f'{kind[0]}:{condition.field}')}) {condition.operator} {value}"


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def one_of(column: str, values: Sequence[str] | dict[str, str]) -> str:
    return f"{column} IN ({', '.join(map(literal, values))})"
