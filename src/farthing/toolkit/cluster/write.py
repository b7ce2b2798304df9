"""Writes the result as files: records with their clusters, the clusters, and the page.

In: a `TextSet` and its `Clustering`. Out: a folder with `map.html`, and with the records (`records.*`) and the clusters
(`clusters.*`) as JSON Lines, Parquet or both. Records keep all their fields and get fields for their clusters.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from farthing.core.errors import InputError, SettingsError
from farthing.core.files import write_atomically
from farthing.toolkit.cluster.clustering import Clustering
from farthing.toolkit.cluster.page import render_page
from farthing.toolkit.optional import needed
from farthing.toolkit.records.fields import with_fields
from farthing.toolkit.text_set import TextSet

FORMATS = ("jsonl", "parquet")
ADDED_FIELDS = ("cluster", "cluster_label", "cluster_probability", "map_x", "map_y")


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise `SettingsError`, before anything is computed, when the result cannot be written to `folder`."""
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{folder} is a file; the result is a folder of files. Give another --output.")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise SettingsError(f"The folder {folder} is not empty. Give another --output, or --overwrite.")
    if not folder.parent.is_dir():
        raise SettingsError(f"The folder {folder.parent} does not exist; make it first.", param="output")


def check_records(data: TextSet, formats: Sequence[str]) -> None:
    """Raise `InputError`, before anything is computed, when records cannot be written with the added fields."""
    for index, names in enumerate(itertools.chain.from_iterable(rows.names() for rows in data.rows)):
        taken = sorted(set(names) & set(ADDED_FIELDS))
        if taken:
            raise InputError(
                f"{data.place(index)} already has a field {taken[0]!r}, which the output adds. Rename it.",
                param="input",
            )
    if "parquet" in formats:
        record_table(data)
    if "jsonl" in formats:
        try:
            for rows in data.rows:
                rows.json_objects()
        except InputError as error:
            raise InputError(f"{error} Give --tables parquet.", param="input") from error


def write_result(folder: Path, data: TextSet, found: Clustering, formats: Sequence[str]) -> list[Path]:
    """Write the result to `folder`, and return the files that were written.

    Files of the same names are replaced (a link itself, not the file it points to), and other files stay. Raises the
    errors of `check_records`.
    """
    folder.mkdir(exist_ok=True)
    written = [folder / "map.html"]
    page = render_page(data.source, data.texts, found)
    write_atomically(written[0], lambda path: path.write_text(page, encoding="utf-8"))
    if "jsonl" in formats:
        written += [folder / "records.jsonl", folder / "clusters.jsonl"]
        write_lines(written[-2], json_records(data, found))
        write_lines(written[-1], (json.dumps(row, ensure_ascii=False) for row in cluster_rows(data, found)))
    if "parquet" in formats:
        written += [folder / "records.parquet", folder / "clusters.parquet"]
        write_tables(written[-2], written[-1], data, found)
    return written


def write_tables(records: Path, clusters: Path, data: TextSet, found: Clustering) -> None:
    with needed("Clustering", "cluster"):
        import pyarrow
        from pyarrow import parquet
    text, number, texts = pyarrow.string(), pyarrow.float64(), pyarrow.list_(pyarrow.string())
    table = record_table(data)
    kinds = (pyarrow.int32(), text, number, number, number)
    for (name, column), kind in zip(added_columns(found).items(), kinds, strict=True):
        table = table.append_column(name, pyarrow.array(column, type=kind))
    write_atomically(records, lambda path: parquet.write_table(table, path))
    # Types are given, because without clusters there are no values to infer them from.
    kinds = (pyarrow.int32(), text, pyarrow.int64(), texts, texts)
    schema = pyarrow.schema(list(zip(("cluster", "label", "size", "terms", "central_texts"), kinds, strict=True)))
    rows = pyarrow.Table.from_pylist(cluster_rows(data, found), schema=schema)
    write_atomically(clusters, lambda path: parquet.write_table(rows, path))


def write_lines(path: Path, lines: Iterator[str]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(line + "\n" for line in lines)

    write_atomically(path, write)


def json_records(data: TextSet, found: Clustering) -> Iterator[str]:
    """Yield each record as it came in, with the added fields at its end."""
    for record, *values in zip(data.json_objects(), *added_columns(found).values(), strict=True):
        added = json.dumps(dict(zip(ADDED_FIELDS, values, strict=True)), ensure_ascii=False)
        yield with_fields(record, added.removeprefix("{").removesuffix("}"))


def added_columns(found: Clustering) -> dict[str, list[Any]]:
    """Return the values of each of `ADDED_FIELDS`, one for each text; the label of noise is None."""
    numbers = found.cluster.tolist()
    labels = [found.clusters[number].label if number >= 0 else None for number in numbers]
    decimals = (found.probability, *found.places.T)  # as doubles, which print no more digits than they are rounded to
    rounded = (column.astype(np.float64).round(4).tolist() for column in decimals)
    return dict(zip(ADDED_FIELDS, (numbers, labels, *rounded), strict=True))


def cluster_rows(data: TextSet, found: Clustering) -> list[dict[str, object]]:
    return [
        {
            "cluster": cluster.number,
            "label": cluster.label,
            "size": cluster.size,
            "terms": list(cluster.terms),
            "central_texts": [data.texts[index] for index in cluster.central],
        }
        for cluster in found.clusters
    ]


def record_table(data: TextSet) -> Any:
    """Return the records as one `pyarrow.Table`. Raises `InputError` when their values do not fit into columns."""
    with needed("Clustering", "cluster"):
        import pyarrow
    try:
        return pyarrow.concat_tables([rows.table() for rows in data.rows], promote_options="permissive")
    except (InputError, pyarrow.ArrowException) as error:
        raise InputError(
            f"The records of {data.source} do not fit into Parquet columns: {error} Write JSON Lines alone: "
            "--tables jsonl.",
            param="input",
        ) from error
