"""Writes chosen records of a set in the format of its input: .txt, .jsonl, .csv, .tsv or .parquet.

JSON Lines and plain text come out letter for letter as they went in. CSV gets the same cells and the same separator,
quoted where that is needed. All three keep their line ends and their byte-order mark, without which Excel does not
recognise UTF-8. Parquet keeps the types of its columns. Added fields replace fields of the same name.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from farthing.core.errors import MissingExtraError
from farthing.serving.text.clean import SURROGATE
from farthing.toolkit.dedup.find import Duplicates
from farthing.toolkit.records.lines import USUAL_LAYOUT
from farthing.toolkit.text_set import TextSet

# Names of added fields, each with a value for every record.
Added = dict[str, Sequence[Any]]


def reasons(found: Duplicates, indices: np.ndarray, nearest: TextSet) -> Added:
    """Return the fields that are added to dropped records. `nearest` has the kept texts."""
    others = found.nearest[indices].tolist()
    return {
        "duplicate_reason": ["exact" if exact else "near" for exact in found.exact[indices]],
        "duplicate_distance": [round(float(distance), 4) for distance in found.distances[indices]],
        "duplicate_of": [nearest.place(other) for other in others],
        "duplicate_text": [nearest.texts[other] for other in others],
    }


def write_records(data: TextSet, indices: np.ndarray, path: Path, format: str, added: Added | None = None) -> None:
    """Write the records of `indices`, which ascend, each with its `added` fields.

    Raises `MissingExtraError` for Parquet without pyarrow.
    """
    if format == "parquet":
        return write_parquet(data, indices, path, added or {})
    # JSON Lines with added fields may come from a file of another format, and JSON has no byte-order mark.
    layout = USUAL_LAYOUT if format == "jsonl" and added is not None else data.layout
    with path.open("w", encoding="utf-8-sig" if layout.has_mark else "utf-8", newline="") as file:
        if format == "txt":
            file.writelines(f"{data.texts[index]}{layout.line_end}" for index in indices)
        elif format == "jsonl":
            file.writelines(f"{line}{layout.line_end}" for line in json_lines(data, indices, added))
        else:
            write_csv(file, map(json.loads, json_lines(data, indices, added)), data, added or {})
    return None


def json_lines(data: TextSet, indices: np.ndarray, added: Added | None) -> Iterator[str]:
    """Yield the records, with their `added` fields, as JSON objects."""
    for place, record in enumerate(data.json_objects(indices)):
        if added is None:
            yield record
        else:
            more = {name: values[place] for name, values in added.items()}
            yield json_object({**json.loads(record), **more})


def json_object(record: dict[str, Any]) -> str:
    """Return the record on one readable line; a lone surrogate, which UTF-8 cannot hold, makes the line all ASCII."""
    line = json.dumps(record, ensure_ascii=False)
    return json.dumps(record) if SURROGATE.search(line) else line


def write_csv(file: Any, records: Iterator[dict[str, Any]], data: TextSet, added: Added) -> None:
    columns = list(json.loads(next(data.json_objects([0]))) | added)
    writer = csv.writer(file, delimiter=data.layout.separator, lineterminator=data.layout.line_end)
    writer.writerow(columns)
    writer.writerows([record[name] for name in columns] for record in records)


def write_parquet(data: TextSet, indices: np.ndarray, path: Path, added: Added) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("Writing Parquet", "parquet") from error
    columns = {name: pyarrow.array(values) for name, values in added.items()}

    def part(number: int) -> Any:
        first = data.starts[number]
        start, end = np.searchsorted(indices, [first, data.starts[number + 1]])
        table = data.rows[number].table().take(indices[start:end] - first)
        table = table.drop_columns([name for name in columns if name in table.column_names])
        for name, values in columns.items():
            table = table.append_column(name, values[start:end])
        return table

    with parquet.ParquetWriter(path, part(0).schema) as file:
        for number in range(len(data.rows)):
            file.write_table(part(number))
