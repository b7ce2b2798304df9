from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from farthing.core.errors import InputError, SettingsError
from farthing.toolkit.cluster.clustering import Cluster, Clustering
from farthing.toolkit.cluster.write import ADDED_FIELDS, FORMATS, check_folder, check_records, write_result
from farthing.toolkit.text_set import TextSet, read_text_set

RECORDS = [{"id": 1, "text": "refund"}, {"id": 2, "text": "退款", "when": "now"}, {"id": 3.5, "text": "</script>"}]


@pytest.fixture
def data(tmp_path: Path) -> TextSet:
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
    return read_text_set(str(tmp_path / "in.jsonl"))


@pytest.fixture
def found() -> Clustering:
    return Clustering(
        cluster=np.array([0, 0, -1], dtype=np.int32),
        probability=np.array([1, 0.123456, 0], dtype=np.float32),
        places=np.array([[0.1, 2], [3, 4], [5, 6]], dtype=np.float32),
        layout="pca",
        clusters=[Cluster(0, "refund, 退款", 2, ["refund", "退款"], [1, 0])],
        variance_kept=1.0,
    )


ADDED = [(0, "refund, 退款", 1.0, 0.1, 2.0), (0, "refund, 退款", 0.1235, 3.0, 4.0), (-1, None, 0.0, 5.0, 6.0)]
WANTED = [record | dict(zip(ADDED_FIELDS, added, strict=True)) for record, added in zip(RECORDS, ADDED, strict=True)]
CLUSTER = {
    "cluster": 0,
    "label": "refund, 退款",
    "size": 2,
    "terms": ["refund", "退款"],
    "central_texts": ["退款", "refund"],
}


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_records_keep_their_fields_and_get_what_was_found(data: TextSet, found: Clustering, tmp_path: Path) -> None:
    check_records(data, FORMATS)
    written = write_result(tmp_path / "out", data, found, FORMATS)
    assert sorted(written) == sorted((tmp_path / "out").iterdir())
    assert lines(tmp_path / "out" / "records.jsonl") == WANTED
    assert lines(tmp_path / "out" / "clusters.jsonl") == [CLUSTER]
    table = parquet.read_table(tmp_path / "out" / "records.parquet").to_pylist()
    assert table == [{"when": None} | record for record in WANTED]
    assert parquet.read_table(tmp_path / "out" / "clusters.parquet").to_pylist() == [CLUSTER]


def test_no_cluster_at_all_is_a_result_too(data: TextSet, found: Clustering, tmp_path: Path) -> None:
    nothing = Clustering(np.full(3, -1, dtype=np.int32), np.zeros(3), found.places, "pca", [], 1.0)
    write_result(tmp_path / "out", data, nothing, FORMATS)
    assert lines(tmp_path / "out" / "clusters.jsonl") == []
    assert parquet.read_table(tmp_path / "out" / "clusters.parquet").num_rows == 0
    assert parquet.read_schema(tmp_path / "out" / "records.parquet").field("cluster_label").type == "string"
    assert [record["cluster_label"] for record in lines(tmp_path / "out" / "records.jsonl")] == [None] * 3


def test_only_the_tables_that_were_asked_for_are_written(data: TextSet, found: Clustering, tmp_path: Path) -> None:
    names = {path.name for path in write_result(tmp_path / "out", data, found, ["parquet"])}
    assert names == {"map.html", "records.parquet", "clusters.parquet"}


def test_a_field_that_the_output_adds_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n{"text": "b", "map_x": 1}')
    with pytest.raises(InputError, match=r"^Line 2 of in\.jsonl already has a field 'map_x'"):
        check_records(read_text_set(str(tmp_path / "in.jsonl")), ["jsonl"])


def test_records_that_parquet_has_no_columns_for_are_refused_unless_json_lines_are_enough(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a", "n": 1}\n{"text": "b", "n": "one"}')
    data = read_text_set(str(tmp_path / "in.jsonl"))
    check_records(data, ["jsonl"])
    with pytest.raises(InputError, match=r"do not fit into Parquet columns.*--tables jsonl"):
        check_records(data, FORMATS)


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for folder in (tmp_path / "full" / "file", tmp_path / "full", tmp_path / "no" / "folder"):
        with pytest.raises(SettingsError, match=str(folder.parent)):
            check_folder(folder, overwrite=False)
    check_folder(tmp_path / "full", overwrite=True)
    check_folder(tmp_path / "new", overwrite=False)
