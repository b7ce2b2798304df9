from __future__ import annotations

import csv
import datetime
import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from farthing import Embedder
from farthing.cli.dedup.command import dedup
from farthing.cli.main import run
from farthing.core.errors import EmptyInputError, InputError, SettingsError

TEXTS = [
    "How do I activate my card?",
    "HOW DO I  ACTIVATE MY CARD?",
    "How do I activate my card",
    "The tower is 330 metres high.",
    "How can I activate my card?",
]


def invoke(*args: object, input: str | None = None) -> Result:
    return CliRunner().invoke(dedup, list(map(str, args)), input=input)


def write_jsonl(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(texts)))
    return path


def read_jsonl(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "data.jsonl", TEXTS)


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """The first, second, third and fifth text are 0.1 apart in a row; the fourth is far from them."""
    angles = np.array([0, 0, 0.1, 2, 0.2])
    np.save(tmp_path / "vectors.npy", np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32))
    return tmp_path / "vectors.npy"


def test_a_real_model_finds_what_says_the_same(starter_dir: Path, data: Path, tmp_path: Path) -> None:
    result = invoke(data, "--model", starter_dir, "-o", tmp_path / "kept.jsonl", "--dropped", tmp_path / "gone.jsonl")
    assert result.exception is None
    assert result.stdout.startswith("5 texts: 2 are kept. Dropped: 1 as the same text, 2 as near duplicates.\n")
    assert result.stderr.splitlines()[-2:] == [
        f"Wrote {tmp_path / 'kept.jsonl'}: 2 records.",
        f"Wrote {tmp_path / 'gone.jsonl'}: 3 records.",
    ]
    lines = data.read_text().splitlines()
    assert (tmp_path / "kept.jsonl").read_text().splitlines() == [lines[0], lines[3]]
    dropped = read_jsonl(tmp_path / "gone.jsonl")
    assert [entry["duplicate_reason"] for entry in dropped] == ["exact", "near", "near"]
    with Embedder(str(starter_dir)) as embedder:
        made = embedder.encode(TEXTS)
    for entry, index in zip(dropped, (1, 2, 4), strict=True):
        assert (entry["id"], entry["text"]) == (index, TEXTS[index])
        assert (entry["duplicate_of"], entry["duplicate_text"]) == ("Line 1 of data.jsonl", TEXTS[0])
        assert entry["duplicate_distance"] == pytest.approx(np.linalg.norm(made[index] - made[0]), abs=1e-3)


def test_without_outputs_only_a_report_is_shown(data: Path, vectors: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    result = invoke(data, "--vectors", vectors, "--threshold", 0.15)
    assert result.exception is None
    assert "5 texts: 3 are kept. Dropped: 1 as the same text, 1 as near duplicates." in result.stdout
    assert "0.100  Line 3 of data.jsonl, Line 1 of data.jsonl" in result.stdout
    assert "0.200  Line 5 of data.jsonl, Line 1 of data.jsonl" in result.stdout
    assert "%|" not in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_bars_are_drawn_when_asked(data: Path, vectors: Path) -> None:
    assert "Comparing: 100%|" in invoke(data, "--vectors", vectors, "--progress").stderr


def test_a_cosine_is_the_same_as_its_distance(data: Path, vectors: Path) -> None:
    for cosine, kept in ((np.cos(0.1) + 1e-4, 4), (np.cos(0.1) - 1e-4, 3), (np.cos(0.2) - 1e-4, 2)):
        result = invoke(data, "--vectors", vectors, "--cosine", cosine)
        assert result.stdout.startswith(f"5 texts: {kept} are kept.")


def test_the_report_is_written_as_json(data: Path, vectors: Path, tmp_path: Path) -> None:
    assert invoke(data, "--vectors", vectors, "--report", tmp_path / "r.json").exception is None
    report = json.loads((tmp_path / "r.json").read_text())
    assert {name: report[name] for name in ("source", "nearest_in", "num_texts", "num_exact", "num_near")} == {
        "source": "data.jsonl",
        "nearest_in": "data.jsonl",
        "num_texts": 5,
        "num_exact": 1,
        "num_near": 2,
    }
    assert report["histogram"][2] == {"above": 0.1, "up_to": 0.15, "num_texts": 0}
    assert sum(bar["num_texts"] for bar in report["histogram"]) == 3
    assert report["dropped_pairs"][0]["text"] == TEXTS[4]


def test_the_report_is_printed_as_json_where_that_is_wanted(data: Path, vectors: Path, tmp_path: Path) -> None:
    result = invoke(data, "--vectors", vectors, "--json", "--report", tmp_path / "r.json")
    assert result.exception is None
    assert json.loads(result.stdout) == json.loads((tmp_path / "r.json").read_text())
    assert result.stdout.count("\n") == 1


def test_an_empty_file_has_no_texts(tmp_path: Path) -> None:
    (tmp_path / "e.txt").write_text("")
    result = invoke(tmp_path / "e.txt", "--exact-only")
    assert isinstance(result.exception, EmptyInputError)
    assert str(result.exception) == "e.txt is empty: it has no texts."
    parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), tmp_path / "e.parquet")
    assert str(invoke(tmp_path / "e.parquet", "--exact-only").exception) == "e.parquet has no rows: it has no texts."


def test_every_format_comes_out_as_it_went_in(tmp_path: Path, vectors: Path) -> None:
    texts = ["one, two", "ONE, TWO", 'a "wren"', "tower", "é"]
    (tmp_path / "in.txt").write_text("\n".join(texts), encoding="utf-8")
    (tmp_path / "in.csv").write_text(
        "id,text\n" + "".join(f'{n},"{t.replace(chr(34), chr(34) * 2)}"\n' for n, t in enumerate(texts))
    )
    days = [datetime.date(2026, 11, day + 1) for day in range(5)]
    parquet.write_table(pyarrow.table({"day": days, "text": texts}), tmp_path / "in.parquet")
    for kind, dropped_kind in (("txt", "jsonl"), ("csv", "csv"), ("parquet", "parquet")):
        kept, dropped = tmp_path / f"kept.{kind}", tmp_path / f"dropped-{kind}.{dropped_kind}"
        found = invoke(tmp_path / f"in.{kind}", "--exact-only", "-o", kept, "--dropped", dropped)
        assert found.exception is None, kind
    assert (tmp_path / "kept.txt").read_text(encoding="utf-8").splitlines() == [texts[0], *texts[2:]]
    assert read_jsonl(tmp_path / "dropped-txt.jsonl")[0]["duplicate_of"] == "Line 1 of in.txt"
    with (tmp_path / "kept.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["id", "text"], ["0", texts[0]], *([str(n), texts[n]] for n in (2, 3, 4))]
    with (tmp_path / "dropped-csv.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["id"], row["duplicate_reason"], row["duplicate_distance"]) == ("1", "exact", "0.0")
    table = parquet.read_table(tmp_path / "kept.parquet")
    assert table.schema == parquet.read_schema(tmp_path / "in.parquet")
    assert table.to_pydict() == {"day": [days[0], *days[2:]], "text": [texts[0], *texts[2:]]}
    (dropped_row,) = parquet.read_table(tmp_path / "dropped-parquet.parquet").to_pylist()
    assert (dropped_row["day"], dropped_row["duplicate_of"]) == (days[1], "Row 1 of in.parquet")


@pytest.mark.parametrize(
    ("name", "content", "kept"),
    [
        ("ex.csv", "\ufeffid,text\r\n1,Grüße\r\n2,grüße\r\n3,x\r\n", "\ufeffid,text\r\n1,Grüße\r\n3,x\r\n"),
        ("ex.csv", "id;text\n1;a, b\n2;A, b\n", "id;text\n1;a, b\n"),
        ("ex.tsv", "id\ttext\r\n1\ta\r\n2\ta\r\n", "id\ttext\r\n1\ta\r\n"),
        ("ex.txt", "\ufeffa\r\nA\r\nb\r\n", "\ufeffa\r\nb\r\n"),
        ("ex.jsonl", '\ufeff{"text": "a"}\r\n{"text": "a"}\r\n', '\ufeff{"text": "a"}\r\n'),
    ],
)
def test_marks_line_ends_and_separators_come_out_as_they_went_in(
    name: str, content: str, kept: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content.encode())
    suffix = Path(name).suffix
    dropped = tmp_path / f"dropped{'.jsonl' if suffix == '.txt' else suffix}"
    result = invoke(tmp_path / name, "--exact-only", "-o", tmp_path / f"k{suffix}", "--dropped", dropped)
    assert result.exception is None, result.output
    assert (tmp_path / f"k{suffix}").read_bytes().decode() == kept
    line = dropped.read_bytes().decode().splitlines(keepends=True)[-1]
    if dropped.suffix == ".jsonl":
        assert json.loads(line)["duplicate_of"] == f"Line 1 of {name}"
        assert line.endswith("}\n")
    else:
        assert line.endswith("\r\n" if "\r" in content else "\n")
        assert dropped.read_bytes().startswith(content.encode()[:6])


def test_fields_of_an_earlier_run_are_replaced(tmp_path: Path) -> None:
    record = json.dumps({"text": "a", "duplicate_of": "old"})
    (tmp_path / "in.jsonl").write_text(f"{record}\n{record}\n")
    assert invoke(tmp_path / "in.jsonl", "--exact-only", "--dropped", tmp_path / "d.jsonl").exception is None
    assert read_jsonl(tmp_path / "d.jsonl")[0]["duplicate_of"] == "Line 1 of in.jsonl"
    table = pyarrow.table({"text": ["a", "a"], "duplicate_of": ["old", "old"]})
    parquet.write_table(table, tmp_path / "in.parquet")
    assert invoke(tmp_path / "in.parquet", "--exact-only", "--dropped", tmp_path / "d.parquet").exception is None
    assert parquet.read_table(tmp_path / "d.parquet").column("duplicate_of").to_pylist() == ["Row 1 of in.parquet"]


def test_a_broken_character_comes_out_as_it_went_in(tmp_path: Path) -> None:
    line = '{"text": "wren \\ud800"}'
    (tmp_path / "in.jsonl").write_text(f"{line}\n{line}\n")
    outputs = ("-o", tmp_path / "k.jsonl", "--dropped", tmp_path / "d.jsonl")
    assert invoke(tmp_path / "in.jsonl", "--exact-only", *outputs).exception is None
    assert (tmp_path / "k.jsonl").read_text() == f"{line}\n"
    assert read_jsonl(tmp_path / "d.jsonl")[0]["duplicate_text"] == "wren \ud800"


def test_nothing_dropped_is_an_empty_file_of_the_same_columns(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,text\n1,a\n2,b\n")
    parquet.write_table(pyarrow.table({"text": ["a", "b"]}), tmp_path / "in.parquet")
    for kind in ("csv", "parquet"):
        result = invoke(tmp_path / f"in.{kind}", "--exact-only", "--dropped", tmp_path / f"gone.{kind}")
        assert result.exception is None
        assert "gone" in result.stderr
        assert "0 records" in result.stderr
    added = ["duplicate_reason", "duplicate_distance", "duplicate_of", "duplicate_text"]
    assert (tmp_path / "gone.csv").read_text() == ",".join(["id", "text", *added]) + "\n"
    assert parquet.read_schema(tmp_path / "gone.parquet").names == ["text", *added]


def test_the_rule_decides_which_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("text,day\nA wren,2026-01-02\na  wren,2026-01-01\na wren,2026-03-01T10:00:00Z\n")
    for rule, kept in (
        ([], "A wren,2026-01-02"),
        (["--keep", "longest"], "a  wren,2026-01-01"),
        (["--keep", "newest", "--time-field", "day"], "a wren,2026-03-01T10:00:00Z"),
    ):
        result = invoke(path, "--exact-only", "--field", "text", "-o", tmp_path / "k.csv", "--overwrite", *rule)
        assert result.exception is None
        assert (tmp_path / "k.csv").read_text() == f"text,day\n{kept}\n"


def test_what_another_file_has_already_is_dropped(starter_dir: Path, data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("the tower is 330 metres high.\nsomething else\n")
    result = invoke(data, "--model", starter_dir, "--against", other, "--dropped", tmp_path / "gone.jsonl")
    assert result.exception is None
    # The texts about cards repeat each other, but nothing in the other file.
    assert result.stdout.startswith("5 texts: 4 are kept. Dropped: 1 as the same text, 0 as near duplicates.")
    (entry,) = read_jsonl(tmp_path / "gone.jsonl")
    assert (entry["id"], entry["duplicate_of"]) == (3, "Line 1 of other.txt")


def test_two_files_with_vectors_that_are_made_already(data: Path, vectors: Path, tmp_path: Path) -> None:
    other = write_jsonl(tmp_path / "other.jsonl", ["x", "y"])
    np.save(tmp_path / "o.npy", np.array([[-1, 0], [np.cos(0.1), np.sin(0.1)]]))
    given = ("--vectors", vectors, "--against", other, "--against-vectors", tmp_path / "o.npy")
    result = invoke(data, *given, "--dropped", tmp_path / "gone.jsonl", "--threshold", 0.11)
    assert result.exception is None
    assert [entry["id"] for entry in read_jsonl(tmp_path / "gone.jsonl")] == [0, 1, 2, 4]
    assert {entry["duplicate_of"] for entry in read_jsonl(tmp_path / "gone.jsonl")} == {"Line 2 of other.jsonl"}


def test_the_field_counts_for_both_files(tmp_path: Path) -> None:
    for name, texts in (("a", ["one", "two"]), ("b", ["two", "three"])):
        lines = [json.dumps({"text": "the same", "body": text}) for text in texts]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "b.txt").write_text("one\n")
    for other, kept in (("b.jsonl", "one"), ("b.txt", "two")):
        given = ("--field", "body", "--against", tmp_path / other, "-o", tmp_path / "k.jsonl", "--overwrite")
        assert invoke(tmp_path / "a.jsonl", "--exact-only", *given).exception is None
        assert [entry["body"] for entry in read_jsonl(tmp_path / "k.jsonl")] == [kept]


def test_standard_input_is_read(tmp_path: Path) -> None:
    result = invoke("-", "--exact-only", "-o", tmp_path / "kept.txt", input="one\nOne\ntwo\n")
    assert result.exception is None
    assert (tmp_path / "kept.txt").read_text() == "one\ntwo\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "one of --model"),
        (["--model", "m", "--exact-only"], "one of --model"),
        (["--vectors", "v.npy", "--model", "m"], "one of --model"),
        (["--exact-only", "--threshold", "0.1", "--cosine", "0.9"], "say the same thing"),
        (["--exact-only", "--threshold", "2.5"], "2.5 is not in the range"),
        (["--exact-only", "--cosine", "1.5"], "1.5 is not in the range"),
        (["--exact-only", "--keep", "newest"], "belong together"),
        (["--exact-only", "--time-field", "day"], "belong together"),
        (["--exact-only", "--against", "b.txt", "--keep", "longest"], "always those of DATA"),
        (["--vectors", "v.npy", "--against", "b.txt"], "--against-vectors is needed"),
        (["--exact-only", "--against-vectors", "v.npy"], "--against-vectors is needed"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: list[str], message: str, data: Path) -> None:
    result = invoke(data, *options)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "kept.csv"], "written as jsonl: name it kept.jsonl"),
        (["--report", "r.txt"], "written as json: name it r.json"),
        (["-o", "data.jsonl"], "exists already"),
        (["-o", "no/kept.jsonl"], "The folder of .* does not exist"),
        (["-o", "k.jsonl", "--dropped", "k.jsonl"], "the same name"),
    ],
)
def test_a_wrong_output_is_told_before_the_input_is_read(
    options: list[str], message: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    data.write_text("not JSON")
    with pytest.raises(SettingsError, match=message):
        raise invoke(data, "--exact-only", *options).exception  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"", EmptyInputError, "data.jsonl is empty"),
        (b'{"text": "a"}\n{"text": \n', InputError, "Line 2 of data.jsonl is not valid JSON"),
        (b'{"text": "a"}\n{"title": "b"}\n', InputError, "Line 2 of data.jsonl has no field 'text'"),
        (b'{"text": "a"}\n{"text": "caf\xe9"}\n', InputError, "Line 2 of data.jsonl is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(
    content: bytes, kind: type[InputError], message: str, data: Path
) -> None:
    data.write_bytes(content)
    error = invoke(data, "--exact-only", "--strict").exception
    assert isinstance(error, kind)
    assert message in str(error)


def test_bad_records_are_left_out_and_what_has_no_vector_is_compared_letter_by_letter(
    starter_dir: Path, tmp_path: Path
) -> None:
    lines = [json.dumps({"id": index, "text": text}) for index, text in enumerate([*TEXTS, "", " ", "\ud800"])]
    lines.insert(2, '{"id": 90, "text"')
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    result = invoke(tmp_path / "data.jsonl", "--model", starter_dir, "-o", tmp_path / "kept.jsonl")
    assert result.exception is None, result.output
    assert [record["id"] for record in read_jsonl(tmp_path / "kept.jsonl")] == [0, 3, 5, 7]
    assert "Left out: Line 3 of data.jsonl is not valid JSON" in result.stderr
    compared = "Not embedded, and compared letter by letter: Line"
    assert f"{compared} 7 of data.jsonl has 0 visible" in result.stderr
    assert f"{compared} 9 of data.jsonl is not valid Unicode" in result.stderr
    strict = invoke(tmp_path / "data.jsonl", "--model", starter_dir, "--strict")
    assert isinstance(strict.exception, InputError)


def test_a_record_without_a_time_is_named(data: Path) -> None:
    error = invoke(data, "--exact-only", "--keep", "newest", "--time-field", "day").exception
    assert isinstance(error, InputError)
    assert str(error).startswith("Line 1 of data.jsonl has no field 'day'; its fields are 'id', 'text'.")


def test_vectors_of_other_texts_are_refused(data: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(3, dtype=np.float32))
    error = invoke(data, "--vectors", tmp_path / "v.npy").exception
    assert isinstance(error, InputError)
    assert "3 vectors; data.jsonl has 5 texts" in str(error)


def test_the_command_has_its_place_in_the_program(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dedup", str(data), "--exact-only"]) == 0
    assert capsys.readouterr().out.startswith("5 texts: 4 are kept.")
