from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from farthing.cli.evaluate import evaluate
from farthing.core.errors import DimensionsError, InputError, MissingExtraError, SettingsError, UnknownPromptError

TEXTS = ["The wren is a small brown bird.", "A penny is a coin.", "The train leaves at noon."]
QUERIES = ["small bird", "a coin", "when does the train leave?"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    birds, alike = folder / "birds", folder / "alike"
    birds.mkdir(parents=True)
    alike.mkdir()
    for name, texts in (("corpus", TEXTS), ("queries", QUERIES)):
        lines = (json.dumps({"id": f"n{place}", "text": text}) for place, text in enumerate(texts))
        (birds / f"{name}.jsonl").write_text("\n".join(lines))
    (birds / "qrels.tsv").write_text("".join(f"n{place}\tn{place}\t1\n" for place in range(3)))
    scored = [("a bird", "a small bird", 5), ("a bird", "noon", 0), ("a coin", "a penny", 4)]
    lines = (json.dumps({"s1": first, "s2": second, "score": score}) for first, second, score in scored)
    (alike / "test.jsonl").write_text("\n".join(lines))
    return folder


def invoke(*args: object) -> Result:
    return CliRunner().invoke(evaluate, list(map(str, args)))


def test_formats_dimensions_and_searches_stand_in_one_table(starter_dir: Path, data: Path, tmp_path: Path) -> None:
    result = invoke(
        starter_dir, data, "--formats", "fp32,int8", "--dimensions", "384, 96", "--hybrid", "0,0.6,1,ranks",
        "-o", tmp_path / "report.json", "--plot", tmp_path / "plot.svg",
    )  # fmt: skip
    assert result.exception is None
    assert result.stderr.splitlines() == [
        "- alike: similarity, 3 pairs (alike/test.jsonl)",
        "- birds: retrieval, 3 documents, 3 queries (birds/corpus.jsonl, birds/queries.jsonl, birds/qrels.tsv)",
    ]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines() if line[:1] == "|"]
    header, searched = lines[0], lines[2 : 2 + 16]
    assert header[:5] == ["set", "format", "dimensions", "search", "nDCG@10"]
    ways = ("words", "sum 0.6", "vectors, index", "ranks")
    assert [tuple(line[1:4]) for line in searched] == [
        (form, length, way) for form in ("fp32", "int8") for length in ("384", "96") for way in ways
    ]
    assert {line[4] for line in searched} == {"1.0000"}
    assert len(lines) == 18 + 2 + 4
    report = json.loads((tmp_path / "report.json").read_text())
    exact, rounded = (next(row for row in report["rows"] if row["format"] == name) for name in ("fp32", "int8"))
    assert 0 < rounded["memory"]["planned_bytes"] < exact["memory"]["planned_bytes"]
    assert rounded["memory"]["measured_bytes"] < rounded["memory"]["planned_bytes"]
    assert (tmp_path / "plot.svg").is_file()


def test_json_is_all_that_is_printed_and_a_report_is_in_words(starter_dir: Path, data: Path, tmp_path: Path) -> None:
    args = (starter_dir, data, "--sets", "alike", "--keep", tmp_path / "keep")
    result = invoke(*args, "--json", "-o", tmp_path / "report.md")
    assert result.exception is None
    found = json.loads(result.stdout)
    assert found["rows"][0]["figures"]["Spearman"] == 1
    assert found["rows"][0]["num_kept"] == 0
    assert (tmp_path / "report.md").read_text().startswith(f"# {starter_dir}\n")
    again = json.loads(invoke(*args, "--json").stdout)
    assert again["rows"][0]["num_kept"] == 6
    assert again["rows"][0]["memory"]["measured_bytes"] is None
    assert again["rows"][0]["figures"] == found["rows"][0]["figures"]


def test_a_folder_in_the_place_of_a_format_is_another_model(starter_dir: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(starter_dir, tmp_path / "copy")
    result = invoke("/no/such/model", data, "--sets", "alike", "--formats", tmp_path / "copy", "--json")
    assert result.exception is None
    assert json.loads(result.stdout)["rows"][0]["format"] == "copy"


def test_instructions_are_compared(tiny_qwen3: Path, data: Path) -> None:
    result = invoke(tiny_qwen3, data / "alike", "--instruction", "", "--instruction", "Find the same", "--json")
    assert result.exception is None
    rows = json.loads(result.stdout)["rows"]
    assert [row["instruction"] for row in rows] == [None, "Find the same"]
    assert rows[0]["figures"] != rows[1]["figures"]


def test_a_bar_is_drawn_only_when_asked_or_on_a_terminal(starter_dir: Path, data: Path) -> None:
    args = (starter_dir, data, "--sets", "birds", "--hybrid", "0.5")
    assert "%|" not in invoke(*args).stderr
    drawn = invoke(*args, "--progress").stderr
    for done in ("Embedding birds: 100%", "Indexing birds: 100%", "Searching birds, sum 0.5: 100%"):
        assert done in drawn


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--hybrid", "0,much"), "--hybrid much is neither a number from 0 to 1 nor ranks"),
        (("--hybrid", "1.5"), "--hybrid 1.5 is neither a number from 0 to 1 nor ranks"),
        (("--dimensions", "384,,96"), "has an empty part"),
        (("--dimensions", "-3"), "--dimensions -3 is not a whole number"),
        (("--cross", "english"), "--cross english is not two languages"),
        (("--formats", "int8", "--upstream", "http://host/v1"), "on another server, which chooses its format"),
    ],
)
def test_options_that_make_no_sense_are_a_usage_error(options: tuple[str, ...], message: str, data: Path) -> None:
    result = invoke("/no/such/model", data, *options)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (("-o", "report.txt"), SettingsError, "named .md or .json, not report.txt"),
        (("--plot", "plot.pdf"), SettingsError, "named .svg or .png, not plot.pdf"),
        (("--formats", "int5"), SettingsError, "int5"),
        (("--sets", "fish"), InputError, "no folder 'fish'; there: alike, birds"),
        (("--cross", "en-zh", "--sets", "alike"), InputError, "that is read has the languages en-zh"),
    ],
)
def test_what_is_wrong_is_said_before_the_model_is_looked_for(
    options: tuple[str, ...], kind: type[Exception], message: str, data: Path
) -> None:
    result = invoke("/no/such/model", data, *options)
    assert isinstance(result.exception, kind)
    assert message in str(result.exception)


def test_what_cannot_be_read_or_embedded_is_left_out_and_said(starter_dir: Path, data: Path) -> None:
    with (data / "birds" / "corpus.jsonl").open("a") as file:
        file.write('\n{"_id": "empty", "title": "", "text": ""}\n{"_id": "open\n')
    result = invoke(starter_dir, data, "--sets", "birds")
    assert result.exception is None, result.output
    assert "of birds/corpus.jsonl is not valid JSON" in result.stderr
    assert "of birds/corpus.jsonl has 0 visible characters" in result.stderr
    assert isinstance(invoke(starter_dir, data, "--sets", "birds", "--strict").exception, InputError)


def test_what_the_model_does_not_have_is_said(starter_dir: Path, data: Path) -> None:
    assert isinstance(invoke(starter_dir, data, "--dimensions", "385").exception, DimensionsError)
    assert isinstance(invoke(starter_dir, data, "--instruction", "Find").exception, UnknownPromptError)


def test_a_missing_extra_is_named_before_the_model_is_looked_for(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytrec_eval", None)
    result = invoke("/no/such/model", data)
    assert isinstance(result.exception, MissingExtraError)
    assert "pip install 'farthing[eval]'" in str(result.exception)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "lancedb", None)
    assert "farthing[search]" in str(invoke("/no/such/model", data, "--hybrid", "0.5").exception)
