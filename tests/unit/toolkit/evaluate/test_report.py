from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from farthing.toolkit.evaluate.grid import Memory, Row
from farthing.toolkit.evaluate.report import EvaluationReport, markdown
from farthing.toolkit.evaluate.sets.find import find_sets

ROW = Row(
    set="birds",
    kind="retrieval",
    format="int8",
    instruction=None,
    dimensions=384,
    search="vectors",
    figures={"nDCG@10": 0.64514, "recall@10": 0.5, "recall@100": 0.75, "MRR@10": 0.6},
    num_texts=7,
    num_kept=0,
    texts_per_s=1234.5,
    one_text_ms=2.25,
    search_ms=0.126,
    query_ms=2.376,
    vector_bytes=1536,
    memory=Memory(planned_bytes=300 * 2**20, measured_bytes=None),
)
PAIRS = replace(
    ROW, set="alike", kind="similarity", figures={"Spearman": 0.8}, search=None, search_ms=None, query_ms=None
)


def tables(*rows: Row) -> list[list[str]]:
    """Cells of all lines of tables."""
    lines = "\n".join(EvaluationReport("model", [], rows, {}).tables()).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def test_each_kind_of_set_has_a_table_of_its_figures_and_costs() -> None:
    header, _, row, other, _, pairs = tables(ROW, PAIRS)
    cells = dict(zip(header, row, strict=True))
    assert cells["set"] == "birds"
    assert (cells["nDCG@10"], cells["planned MiB"], cells["texts/s"]) == ("0.6451", "300", "1,234")
    assert (cells["ms a text"], cells["ms a search"], cells["ms a query"]) == ("2.2", "0.13", "2.4")
    assert dict(zip(other, pairs, strict=True))["Spearman"] == "0.8000"


def test_columns_that_say_nothing_are_left_out() -> None:
    header = tables(replace(ROW, format=""))[0]
    assert not {"format", "instruction", "measured MiB"} & set(header)
    assert {"search", "planned MiB"} <= set(header)
    assert "planned MiB" not in tables(replace(ROW, memory=None))[0]


def test_vectors_of_an_earlier_run_are_told_once_a_setting() -> None:
    kept = replace(ROW, num_kept=5)
    text = "\n".join(EvaluationReport("model", [], [kept, replace(kept, dimensions=96), PAIRS], {}).tables())
    assert "5 of 14 vectors, and the time they took, are of an earlier run." in text
    assert "earlier run" not in "\n".join(EvaluationReport("model", [], [ROW], {}).tables())


def test_a_report_says_what_each_folder_was_taken_for(retrieval_dir: Path) -> None:
    report = EvaluationReport("minilm", find_sets(retrieval_dir), [ROW], {"farthing": "1.0"})
    written = report.as_markdown()
    assert written.startswith("# minilm\n\nfarthing 1.0\n")
    assert "- birds: retrieval, 4 documents, 3 queries (birds/corpus.jsonl, birds/queries.jsonl" in written
    found = json.loads(json.dumps(report.as_object()))
    assert found["rows"][0]["figures"]["nDCG@10"] == 0.64514
    assert found["rows"][0]["memory"] == {"planned_bytes": 300 * 2**20, "measured_bytes": None}
    assert found["sets"][0]["kind"] == "retrieval"


def test_cells_cannot_break_a_table() -> None:
    assert list(markdown([["a", "b"], ["x|y", "two\nlines"]]))[2] == "| x\\|y | two lines |"


def test_on_a_narrow_terminal_columns_stand_in_several_tables() -> None:
    report = EvaluationReport("model", [], [ROW, PAIRS], {})
    narrow = "\n".join(report.tables(80))
    assert max(map(len, narrow.splitlines())) <= 80
    headers = [line for line in narrow.splitlines() if line.startswith("| set")]
    assert len(headers) > 2
    assert all("format" in line and "dimensions" in line for line in headers)
    for name in ("nDCG@10", "planned MiB", "texts/s", "ms a query", "Spearman"):
        assert any(name in line for line in headers)
    assert "\n".join(report.tables(1000)).count("| set") == 2
