from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from farthing.core.errors import EmptyInputError, FarthingError, InputError, SettingsError
from farthing.toolkit.records.lines import USUAL_LAYOUT, LineLayout, Lines
from farthing.toolkit.records.read_lines import Wanted
from farthing.toolkit.records.reader import Reader, open_reader
from farthing.toolkit.records.rows import Rows

Write = Callable[[str, bytes | str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def opened(
    path: Path | str, field: str | None = None, reserved: str | None = None, format: str | None = None
) -> Reader:
    return open_reader(str(path), format, Wanted(field, reserved))


def read(path: Path | str, count: int = 100, **wanted: str) -> list[Rows]:
    with closing(opened(path, **wanted)) as reader:
        return list(iter(lambda: reader.take(count), None))


def texts(path: Path | str, count: int = 100, **wanted: str) -> list[str]:
    return [text for rows in read(path, count, **wanted) for text in rows.texts]


def error_of(path: Path | str, **wanted: str) -> str:
    """Of the first row that cannot be read, or of all of them."""
    try:
        rows = read(path, **wanted)
    except InputError as error:
        return str(error)
    return str(next(error for part in rows for error in part.errors.values()))


# --- plain text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("one\ntwo", ["one", "two"]),
        ("one\r\n two \r\n", ["one", " two "]),
        ("one\n\nthree\n", ["one", "", "three"]),
        ("one\u2028still one\x0bstill\rstill\n", ["one\u2028still one\x0bstill\rstill"]),
        (b"\xef\xbb\xbfone\n", ["one"]),
    ],
)
def test_only_line_ends_divide_texts(content: bytes | str, expected: list[str], write: Write) -> None:
    assert texts(write("a.txt", content)) == expected


def test_rows_know_their_lines_across_chunks(write: Write) -> None:
    chunks = read(write("a.txt", "".join(f"{n}\n" for n in range(5))), count=2)
    assert [len(rows.texts) for rows in chunks] == [2, 2, 1]
    assert chunks[1].place(1) == "Line 4 of a.txt"


def test_a_line_that_is_not_utf8_is_named_with_its_byte(write: Write) -> None:
    assert "Line 2 of a.txt is not UTF-8: byte 0xe9 at position 4" in error_of(write("a.txt", b"\xc3\xa4\ncaf\xe9\n"))


def test_plain_text_has_no_field_to_choose(write: Write) -> None:
    with pytest.raises(SettingsError, match="plain text has no fields"):
        opened(write("a.txt", "one\n"), field="body")


# --- JSON Lines ------------------------------------------------------------------------------------------------------


def test_json_records_keep_their_own_spelling(write: Write) -> None:
    lines = ['{ "text" : "\\u00fc", "n":1.10, "big":12345678901234567890123 }', '{"text":"b"}']
    [rows] = read(write("a.jsonl", "\n".join(lines)))
    assert rows.texts == ["ü", "b"]
    assert rows.json_objects() == lines


def test_blank_lines_are_skipped_but_counted(write: Write) -> None:
    [rows] = read(write("a.jsonl", '\n{"text":"a"}\n  \n{"text":"b"}\n\n'))
    assert [rows.place(0), rows.place(1)] == ["Line 2 of a.jsonl", "Line 4 of a.jsonl"]


def test_the_only_field_is_the_text(write: Write) -> None:
    assert texts(write("a.jsonl", '{"body":"a"}\n{"body":"b","more":1}\n')) == ["a", "b"]


def test_the_field_called_text_is_the_text_unless_another_is_named(write: Write) -> None:
    path = write("a.jsonl", '{"text":"a","title":"A"}\n')
    assert texts(path) == ["a"]
    assert texts(path, field="title") == ["A"]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ('{"text": 1', "Line 2 of a.jsonl is not valid JSON: Expecting ',' delimiter at character"),
        ('{"title": "x"}', "Line 2 of a.jsonl has no field 'text'; its fields are 'title'."),
        ("{}", "Line 2 of a.jsonl has no field 'text'; it has no fields."),
        ('{"text": null}', "Line 2 of a.jsonl: the field 'text' is null; a text is a string."),
        ('{"text": 5}', "Line 2 of a.jsonl: the field 'text' is of type int"),
        ('["text"]', "Line 2 of a.jsonl is '[\"text\"]', not a JSON object"),
        ('{"text": "a", "n": ' + "9" * 5000 + "}", "Line 2 of a.jsonl cannot be read as JSON"),
        ("[" * 100_000, "Line 2 of a.jsonl"),
    ],
)
def test_a_wrong_json_line_is_named(second: str, message: str, write: Write) -> None:
    assert message in error_of(write("a.jsonl", '{"text": "a"}\n' + second + "\n"))


def test_a_missing_field_is_answered_with_those_there_are(write: Write) -> None:
    path = write("a.jsonl", '{"body":"a","id":1}\n')
    hint = "Name the one that holds the text with --field."
    assert f"has no field 'text'; its fields are 'body', 'id'. {hint}" in error_of(path)
    assert "has no field 'bdy'; its fields are 'body', 'id'." in error_of(path, field="bdy")


@pytest.mark.parametrize("content", ['{"text":"a","embedding":[1]}\n', '{"text":"a"}\n{"text":"b","embedding":[1]}\n'])
def test_the_field_that_the_output_adds_must_be_free(content: str, write: Write) -> None:
    path = write("a.jsonl", content)
    assert "already has a field 'embedding'" in error_of(path, reserved="embedding")
    assert texts(path)[0] == "a"


# --- CSV -------------------------------------------------------------------------------------------------------------


def test_quoted_cells_hold_commas_quotes_and_lines(write: Write) -> None:
    [rows] = read(write("a.csv", 'id,text\r\n1,"a, ""b"""\r\n2,"c\nd"\r\n\r\n3,e\r\n'))
    assert rows.texts == ['a, "b"', "c\nd", "e"]
    assert [rows.place(index) for index in range(3)] == ["Line 2 of a.csv", "Line 3 of a.csv", "Line 6 of a.csv"]
    assert json.loads(rows.json_objects()[1]) == {"id": "2", "text": "c\nd"}


def test_long_cells_are_no_problem(write: Write) -> None:
    assert len(texts(write("a.csv", "id,text\n1," + "x" * 200_000 + "\n"))[0]) == 200_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,text\n1,a\n2\n", "Line 3 of a.csv has 1 columns; the header has 2: id, text."),
        ("id,text\n1,a,b\n", "Line 2 of a.csv has 3 columns"),
        ('id,text\n1,a\n2,"b\n3,c\n', "Line 3 of a.csv is not valid CSV"),
        ("id,body\n1,a\n", "Line 1 of a.csv has no field 'text'; its fields are 'id', 'body'."),
        ("text,text\na,b\n", "the column 'text' appears twice"),
        ("id;text\n1;a;b\n", "Quote cells that hold a semicolon."),
    ],
)
def test_a_wrong_csv_line_is_named(content: str, message: str, write: Write) -> None:
    assert message in error_of(write("a.csv", content))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("id;text\n1;a, b\n", ["a, b"]),
        ("id\ttext\n1\ta; b\n", ["a; b"]),
        ('\n"a;b";text\n1;"a;\nb"\n', ["a;\nb"]),
        ('text,"a;b;c"\na,1\n', ["a"]),
        ("text\na; b\n", ["a; b"]),
    ],
)
def test_the_header_tells_what_separates_columns(content: str, found: list[str], write: Write, tmp_path: Path) -> None:
    assert texts(write("a.csv", content)) == found
    (tmp_path / "a.utf16.csv").write_bytes(content.encode("utf-16"))
    assert texts(tmp_path / "a.utf16.csv") == found


def test_columns_that_are_not_separated_by_commas_are_said(write: Write) -> None:
    told: list[str] = []
    for name, content in (("a.csv", "id;text\n1;a\n"), ("b.csv", "id,text\n1,b\n"), ("c.tsv", "id\ttext\n1\tc\n")):
        open_reader(str(write(name, content)), None, Wanted(None, None), told.append).close()
    assert told == ["The columns of a.csv are separated by semicolons, not by commas."]


def test_a_tsv_file_has_tabs_whatever_else_is_in_it(write: Write) -> None:
    path = write("a.tsv", 'text\tone, two; three\na, b\t1\n"c\td"\t2\n')
    [rows] = read(path)
    assert rows.texts == ["a, b", "c\td"]
    assert json.loads(rows.json_objects()[0]) == {"text": "a, b", "one, two; three": "1"}
    assert "Quote cells that hold a tab." in error_of(write("b.tsv", "id\ttext\n1\ta\tb\n"))


# --- in other encodings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "words"), [("cp1252", ["Grüße", "naïve café"]), ("gb18030", ["退货政策：三十天内可以退货。", "雨衣"])]
)
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.tsv"])
def test_what_is_not_utf8_is_read_by_a_guess_that_is_said(
    name: str, encoding: str, words: list[str], write: Write
) -> None:
    header = [] if name == "a.txt" else ["text"]
    path = write(name, "\n".join([*header, "plain", *words, "plain"]).encode(encoding))
    told: list[str] = []
    with closing(open_reader(str(path), None, Wanted(None, None), told.append)) as reader:
        rows = reader.take(10)
    assert rows is not None
    assert (list(rows.texts), dict(rows.errors)) == (["plain", *words, "plain"], {})
    (remark,) = told
    assert remark.startswith(f"{name} is not UTF-8, and is read by a guess, as {encoding}.")


@pytest.mark.parametrize(
    "content",
    [
        "text\nnaïve\n".encode() + b"caf\xe9\n",
        b"text\ncaf\xe9\n" + "naïve\n".encode(),
        b"\xef\xbb\xbftext\ncaf\xe9\nna\n",
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
def test_a_damaged_line_of_utf8_is_no_other_encoding(content: bytes, name: str, write: Write) -> None:
    assert "is not UTF-8: byte 0xe9" in error_of(write(name, content))


def test_json_is_utf8(write: Write) -> None:
    assert "Line 1 of a.jsonl is not UTF-8" in error_of(write("a.jsonl", b'{"text": "caf\xe9"}\n{"text": "a"}\n'))


def test_a_pipe_is_not_waited_for_to_guess() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"caf\xe9\n")
    with open(reading, "rb") as stream:  # noqa: PTH123 - a descriptor
        lines = Lines(stream, "standard input", lambda _: None)
        lines.takes_guess = True
        assert next(lines) == "café\n"
        os.close(writing)


# --- how they are written --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "layout"),
    [
        ("a.csv", b"id,text\n1,a\n", USUAL_LAYOUT),
        ("a.csv", b"\xef\xbb\xbfid;text\r\n1;a\r\n", LineLayout(True, "\r\n", ";")),
        ("a.tsv", b"id\ttext\n1\ta\n", LineLayout(separator="\t")),
        ("a.txt", b"a\r\n", LineLayout(line_end="\r\n")),
        ("a.jsonl", b'\xef\xbb\xbf{"text": "a"}\n', LineLayout(has_mark=True)),
    ],
)
def test_a_reader_knows_how_its_file_is_written(name: str, content: bytes, layout: LineLayout, write: Write) -> None:
    with closing(opened(write(name, content))) as reader:
        assert reader.layout == layout


# --- all formats -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_an_empty_file_is_an_error(name: str, write: Write) -> None:
    with pytest.raises(EmptyInputError, match="is empty"):
        opened(write(name, ""))


def test_a_header_without_rows_is_an_error(write: Write, tmp_path: Path) -> None:
    with pytest.raises(EmptyInputError):
        opened(write("a.csv", "id,text\n"))
    parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), tmp_path / "a.parquet")
    with pytest.raises(EmptyInputError):
        opened(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "format", "error"),
    [
        ("no.txt", None, "does not exist"),
        (".", None, "is a folder"),
        ("a.dat", None, "cannot be told from its suffix"),
        ("-", "parquet", "cannot be read from standard input"),
    ],
)
def test_what_cannot_be_opened_is_explained(
    name: str, format: str | None, error: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write("a.dat", "one\n").parent)
    with pytest.raises(FarthingError, match=error):
        opened(name, format=format)


def test_a_given_format_wins_over_the_suffix(write: Write) -> None:
    assert texts(write("a.txt", '{"text":"a"}\n'), format="jsonl") == ["a"]
    assert texts(write("A.TXT", "a\n")) == ["a"]


@pytest.mark.parametrize(("format", "content"), [(None, "a\nb\n"), ("jsonl", '{"text":"a"}\n{"text":"b"}\n')])
def test_standard_input_is_plain_text_unless_said_otherwise(
    format: str | None, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    assert texts("-", format=format) == ["a", "b"]


def test_the_number_of_rows_is_estimated_from_what_was_read(write: Write) -> None:
    with closing(opened(write("a.txt", "four\n" * 1000))) as reader:
        reader.take(100)
        assert reader.estimate_rows() == 1000


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(("name", "content"), [("a.txt", "naïve\n雨衣\n"), ("a.csv", "text\nnaïve\n雨衣\n")])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str, name: str, content: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / name).write_bytes((mark + content).encode(encoding))
    with closing(open_reader(str(tmp_path / name), None, Wanted(None, None))) as reader:
        rows = reader.take(10)
        assert rows is not None
        assert list(rows.texts) == ["naïve", "雨衣"]


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_what_begins_as_a_pdf_is_no_text(name: str, write: Write) -> None:
    with pytest.raises(InputError, match=rf"{name} is a PDF, which is not read as text\. Make text of it first"):
        opened(write(name, b"%PDF-1.4\nraw obj\n"))


def test_utf_16_without_a_mark_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("one\ntwo\n".encode("utf-16-le"))
    with pytest.raises(InputError, match="UTF-16 without a byte-order mark"):
        open_reader(str(tmp_path / "a.txt"), None, Wanted(None, None))
