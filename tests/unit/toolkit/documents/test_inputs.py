from __future__ import annotations

import datetime
import gzip
import io
import json
import lzma
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from farthing.core.errors import EmptyInputError, InputError
from farthing.toolkit.documents.document import Document
from farthing.toolkit.documents.inputs import Inputs
from farthing.toolkit.documents.reading.records import RecordFields

NO_TEXT = bytes(range(0x80, 0x100)) * 4  # in no encoding that people write


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def strict(*names: str, **others: Any) -> Inputs:
    inputs = Inputs(names, **others)
    inputs.left_out.records.strict = True
    return inputs


def lines(*records: object) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


# --- records ----------------------------------------------------------------------------------------------------------


def test_a_record_is_a_document_with_its_other_fields_as_metadata() -> None:
    metadata = {"price": 79.5, "sale": True, "tags": ["new", 7, False]}
    write({"shop.jsonl": lines({"id": 7, "title": "Rain coat", "text": "Keeps you dry.", **metadata})})
    inputs = Inputs(["shop.jsonl"])
    assert list(inputs) == [Document("7", "Keeps you dry.", "Rain coat", "line 1 of shop.jsonl", metadata=metadata)]
    assert inputs.left_out.fields == {}


def test_fields_that_could_not_be_asked_for_are_left_out_and_told() -> None:
    fields = {
        "tags": ["x", None],
        "empty": [],
        "nothing": [None],
        "sizes": {"s": 1},
        "nested": [["x"]],
        "objects": [{"a": 1}],
        "many": list(range(257)),
        "as many as can be": list(range(256)),
        "embedding": [0.5, -1, 0.0],
    }
    write({"a.jsonl": lines({"id": 1, "text": "a", **fields}, {"id": 2, "text": "b", "sizes": {}, "embedding": ["x"]})})
    inputs = Inputs(["a.jsonl"])
    assert [document.metadata for document in inputs] == [
        {"tags": ["x"], "as many as can be": list(range(256))},
        {"embedding": ["x"]},
    ]
    assert inputs.left_out.fields == {
        "hold neither text, number, true or false, nor a list of these": {"sizes": 2, "nested": 1, "objects": 1},
        "are lists of more than 256 values": {"many": 1},
        "are vectors, as `farthing embed` writes them": {"embedding": 1},
    }


def test_lists_of_parquet_are_metadata_and_those_of_csv_are_text() -> None:
    day = datetime.date(2026, 1, 2)
    columns = {
        "text": ["a", "b"],
        "tags": [["x", None, "y"], None],
        "sizes": [[1, 2], []],
        "days": [[day], [day]],
        "pairs": [[{"a": 1}], []],
    }
    parquet.write_table(pyarrow.table(columns), "a.parquet")
    inputs = Inputs(["a.parquet"])
    assert [document.metadata for document in inputs] == [
        {"tags": ["x", "y"], "sizes": [1, 2], "days": ["2026-01-02"]},
        {"days": ["2026-01-02"]},
    ]
    assert [list(names) for names in inputs.left_out.fields.values()] == [["pairs"]]
    write({"a.csv": 'text,tags\na,"x, y"\nb,"[""x""]"\n'})
    assert [document.metadata for document in Inputs(["a.csv"])] == [{"tags": "x, y"}, {"tags": '["x"]'}]


def test_fields_can_be_named() -> None:
    write({"a.csv": "sku,name,about\nx1,Coat,Dry\n"})
    (document,) = Inputs(["a.csv"], RecordFields(text="about", id="sku", title="name"))
    assert (document.id, document.title, document.text) == ("x1", "Coat", "Dry")


@pytest.mark.parametrize("fields", [RecordFields(id="sku"), RecordFields(title="sku"), RecordFields(text="sku")])
def test_a_field_that_a_row_lacks_is_an_error_with_its_line(fields: RecordFields) -> None:
    write({"a.jsonl": lines({"sku": "1", "text": "a"}, {"text": "b"})})
    with pytest.raises(InputError, match=r"Line 2 of a\.jsonl has no field 'sku'"):
        list(strict("a.jsonl", fields=fields))
    inputs = Inputs(["a.jsonl"], fields)
    assert len(list(inputs)) == 1
    assert inputs.left_out.records.num == 1


def test_rows_without_an_id_are_named_by_what_they_say() -> None:
    write({"a.jsonl": lines({"text": "a"}, {"text": "b"}), "b.jsonl": lines({"text": "b"}, {"text": "a", "x": 1})})
    (a, b), (b_again, a_with_more) = Inputs(["a.jsonl"]), Inputs(["b.jsonl"])
    assert b.id == b_again.id
    assert len({a.id, b.id, a_with_more.id}) == 3


def test_cells_stay_as_they_are_written() -> None:
    write({"a.csv": "text,price,zip,rate,note\nx,20.00,00720,-0.5,true\n"})
    (document,) = Inputs(["a.csv"])
    assert document.metadata == {"price": "20.00", "zip": "00720", "rate": "-0.5", "note": "true"}


def test_standard_input_has_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines({"id": "a", "text": "b"}).encode())))
    assert [document.id for document in Inputs(["-"])] == ["a"]


def test_a_broken_line_is_named_and_what_stands_before_it_comes_first() -> None:
    write({"a.jsonl": lines({"text": "a"}) + '{"text": \n'})
    documents = iter(strict("a.jsonl"))
    with pytest.raises(InputError, match=r"Line 2 of a\.jsonl is not valid JSON"):
        list(documents)


@pytest.mark.parametrize(
    ("name", "content", "texts", "reasons"),
    [
        (
            "a.jsonl",
            b'{"text": "a"}\n{"text": \n[1]\n{"text": null}\n{"txt": "b"}\n\n\xff\xfe\n{"text": "c"}\n{"text": "d"}',
            ["a", "c", "d"],
            ["Line 2 ", "Line 3 ", "Line 4 ", "Line 5 ", "Line 7 "],
        ),
        (
            "a.csv",
            b'id,text\n1,\xc3\xa4\n2\n3,"b\nb"\n4,caf\xe9\n5,"x"y\n6,c\n7,"open\n8,d\n9,"e ""e"""\n10,f,f\n11,g\n',
            ["ä", "b\nb", "c", "d", 'e "e"', "g"],
            ["Line 3 ", "Line 6 ", "Line 7 ", "Line 9 ", "Line 12 "],
        ),
        ("a.jsonl", b'nonsense\n\xff\n{"text": "a"}\n', ["a"], ["Line 1 ", "Line 2 "]),
    ],
)
def test_records_that_cannot_be_read_are_left_out_and_told(
    name: str, content: bytes, texts: list[str], reasons: list[str]
) -> None:
    write({name: content})
    inputs = Inputs([name])
    assert [document.text for document in inputs] == texts
    told = inputs.left_out.records
    assert [reason[: len(start)] for reason, start in zip(told.reasons, reasons, strict=True)] == reasons
    assert told.num == len(reasons)


def test_a_line_without_an_end_is_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farthing.toolkit.records.lines.MAX_LINE_BYTES", 100)
    write({"a.jsonl": lines({"text": "a"}) + "x" * 1000 + "\n" + lines({"text": "b"})})
    inputs = Inputs(["a.jsonl"])
    assert [document.text for document in inputs] == ["a", "b"]
    assert inputs.left_out.records.num == 1


def test_many_quotes_that_are_not_closed_take_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farthing.toolkit.records.read_lines.MAX_ROW_LINES", 50)
    write({"a.csv": "id,text\n" + '1,"open\n2,fine\n' * 500})
    inputs = Inputs(["a.csv"])
    assert [document.text for document in inputs] == ["fine"] * 500
    assert inputs.left_out.records.num == 500


def test_a_file_without_a_record_that_can_be_read_says_why() -> None:
    write({"a.jsonl": "no\nno\n"})
    with pytest.raises(InputError, match=r"Line 1 of a\.jsonl is not valid JSON"):
        list(Inputs(["a.jsonl"]))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.csv", "sku,name,about\n1,a,b\n"),
        ("q.tsv", "sku\tname\n1\ta\n"),
        ("q.jsonl", '{"sku": 1, "name": "a"}\n'),
    ],
)
def test_records_without_a_text_are_told_before_anything_else_is_read(name: str, content: str) -> None:
    write({"a.md": "text", name: content})
    inputs = Inputs(["a.md", name])
    with pytest.raises(InputError, match=f"Line 1 of {name} has no field 'text'; its fields are 'sku', 'name'"):
        inputs.check()
    Inputs(["a.md", name], RecordFields(text="name")).check()
    assert inputs.left_out.remarks == []


def test_records_of_european_spreadsheets_are_read_and_how_is_told() -> None:
    write({"d/e.csv": "id;text\r\n1;Grüße, und mehr\r\n".encode("cp1252"), "d/t.tsv": "id\ttext\n2\ta, b\n"})
    inputs = Inputs(["d"])
    assert [(document.id, document.text) for document in inputs] == [("1", "Grüße, und mehr"), ("2", "a, b")]
    separated, guessed = inputs.left_out.remarks
    assert separated == "The columns of e.csv are separated by semicolons, not by commas."
    assert guessed.startswith("e.csv is not UTF-8, and is read by a guess, as cp1252.")
    assert inputs.left_out.suffixes == {}


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# A guide #\ntext", "A guide"),
        ("text only", "a.md"),
        ('---\ntitle: "From the front"\ntags: [x]\n---\n# Heading\n', "From the front"),
        ("---\ntags: [x]\n---\n# Heading\n", "Heading"),
    ],
)
def test_markdown_has_the_title_that_it_gives_itself(text: str, title: str) -> None:
    write({"a.md": text})
    (document,) = Inputs(["a.md"])
    assert (document.title, document.kind, document.is_file) == (title, "markdown", True)


def test_front_matter_is_no_text_and_keeps_its_lines() -> None:
    write({"a.md": "---\nsecret: yes\n---\nwords"})
    (document,) = Inputs(["./a.md"])
    assert document.text == "\n\n\nwords"
    assert document.id == document.source == "a.md"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (NO_TEXT, "Line 1 of a.md is not UTF-8: byte 0x80"),
        (b"ok\nok\n" + NO_TEXT, "Line 3 of a.md"),
        (b"\x00\x01", "a.md is not text"),
        (b"%PDF-1.4\nraw obj\n", "a.md is a PDF"),
        (b" \n", "a.md is empty"),
    ],
)
def test_a_named_file_that_is_no_text_is_an_error(content: bytes, message: str) -> None:
    write({"a.md": content, "b.md": "text"})
    with pytest.raises(InputError, match=message):
        list(strict("a.md"))
    with pytest.raises(EmptyInputError, match=f"No document was found in a.md. {message}"):
        list(Inputs(["a.md"]))
    inputs = Inputs(["a.md", "b.md"])
    assert [document.id for document in inputs] == ["b.md"]
    assert inputs.left_out.records.num == 1


def test_a_name_that_is_nothing_is_known_before_anything_is_read() -> None:
    write({"a.md": "text"})
    with pytest.raises(InputError, match=r"b\.md does not exist"):
        next(iter(Inputs(["a.md", "b.md"])))


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_gives_its_texts_in_order_and_counts_the_rest() -> None:
    write({
        "src/b.py": "b = 1", "src/a.md": "a", "src/deep/c.rs": "fn c() {}", "src/logo.png": b"\x89PNG",
        "src/empty.py": "",
        "src/.hidden/d.md": "d", "src/node_modules/e.js": "e", "src/latin.txt": NO_TEXT, "src/readme.png": b"\x89",
    })  # fmt: skip
    inputs = Inputs(["src"])
    assert [(document.id, document.kind) for document in inputs] == [
        ("src/a.md", "markdown"),
        ("src/b.py", "python"),
        ("src/deep/c.rs", "rust"),
    ]
    assert inputs.left_out.suffixes == {".png": 2}
    assert list(inputs.left_out.files) == ["src/latin.txt"]
    assert "not UTF-8" in inputs.left_out.files["src/latin.txt"]


def test_what_gitignore_files_and_excludes_name_is_left_out() -> None:
    write({
        ".gitignore": "build/\n*.tmp.md\n", "deep/.gitignore": "/only_here.md\n", "a.md": "a", "x.tmp.md": "x",
        "build/b.md": "b", "deep/only_here.md": "c", "deep/d.md": "d", "deep/more/only_here.md": "e", "old/f.md": "f",
    })  # fmt: skip
    found = [document.id for document in Inputs(["."], exclude=["old/"])]
    assert found == ["a.md", "deep/d.md", "deep/more/only_here.md"]


def test_records_in_a_folder_are_documents_too() -> None:
    write({
        "d/a.csv": "text,price\nx,1\n", "d/b.jsonl": lines({"text": "y"}), "d/c.csv": "no,such\n1,2\n", "d/d.csv": "",
        "d/e.csv": "text\nz\n",
    })  # fmt: skip
    inputs = Inputs(["d"])
    assert [document.text for document in inputs] == ["x", "y", "z"]
    assert list(inputs.left_out.files) == ["d/c.csv"]
    assert "no field 'text'" in inputs.left_out.files["d/c.csv"]


def test_what_cannot_be_opened_in_a_folder_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user who may not; the superuser may everything."""
    write({"d/a.md": "a", "d/b.md": "b", "d/sub/c.md": "c", "d/ok/.gitignore": "x", "d/ok/d.md": "d"})
    os.mkfifo("d/pipe.md")
    real_open, real_scandir = Path.open, os.scandir

    def refuse(path: Any) -> None:
        if str(path) in ("d/a.md", "d/sub", "d/ok/.gitignore"):
            raise PermissionError(13, "Permission denied", str(path))

    def opened(path: Path, *args: Any, **others: Any) -> Any:
        refuse(path)
        return real_open(path, *args, **others)

    def scanned(path: Any) -> Any:
        refuse(path)
        return real_scandir(path)

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(os, "scandir", scanned)
    inputs = Inputs(["d"])
    assert [document.id for document in inputs] == ["d/b.md", "d/ok/d.md"]
    assert sorted(inputs.left_out.files) == ["d/a.md", "d/ok/.gitignore", "d/sub"]
    assert inputs.left_out.files["d/a.md"] == "d/a.md cannot be read: Permission denied."
    with pytest.raises(InputError, match="cannot be read"):
        list(strict("d"))


def test_a_folder_that_cannot_be_entered_ends_nothing(here: Path) -> None:
    import pathspec  # noqa: F401 - which another user may not read

    write({"d/ok.md": "a", "d/nox/b.md": "b", "d/nox/.gitignore": "x", "secret/c.md": "c"})
    Path("d/c.md").symlink_to("../secret/c.md")
    here.chmod(0o755)
    Path("d/nox").chmod(0o644)
    Path("secret").chmod(0o600)
    inputs = Inputs(["d"])
    with as_another_user():
        found = [document.id for document in inputs]
    for name in ("d/nox", "secret"):
        Path(name).chmod(0o755)
    assert found == ["d/ok.md"]
    assert inputs.left_out.files == {
        "d/c.md": "d/c.md cannot be read: Permission denied.",
        "d/nox": "d/nox cannot be read: Permission denied.",
    }


@contextmanager
def as_another_user() -> Iterator[None]:
    """The superuser may enter everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(0)


def test_an_index_s_own_files_are_no_documents() -> None:
    index = {
        "farthing-index.json": "{}",
        "farthing-index-next.json": "{}",
        "lock": "",
        "data-1/made-by-farthing.json": "{}",
        "data-1/passages.lance/_versions/latest_version_hint.json": "{}",
    }
    write({
        **{f"p/{name}": content for name, content in index.items()},
        **{f"p/deep/store/{name}": content for name, content in index.items()},
        "p/d.md": "# d", "p/deep/store/e.md": "e", "p/data-2/f.md": "f", "p/other/data-1/made-by-farthing.json": "{}",
        "p/other/farthing-index.json": "[]", "q/farthing-index.json": "[]",
    })  # fmt: skip
    inputs = Inputs(["p", "q"])
    assert [document.id for document in inputs] == ["p/d.md", "p/deep/store/e.md", "q/farthing-index.json"]
    assert inputs.left_out.indexes == ["p", "p/deep/store", "p/other"]
    assert inputs.left_out.suffixes == {}


def test_a_link_to_a_file_that_is_added_itself_is_not_added_too() -> None:
    write({"m/notes.txt": "notes", "m/z.csv": "text\nrow\n", "n/named.md": "named", "o/a.md": "a", "away.md": "away"})
    links = {
        "m/again.txt": "../away.md", "m/away.txt": "../away.md", "m/link.txt": "notes.txt", "m/l.csv": "z.csv",
        "m/named.md": "../n/named.md", "m/o.md": "../o/a.md", "m/nowhere.md": "no.md",
    }  # fmt: skip
    for name, target in links.items():
        Path(name).symlink_to(target)
    inputs = Inputs(["m", "n/named.md", "o"])
    found = [document.source for document in inputs]
    assert found == ["m/again.txt", "m/notes.txt", "line 2 of z.csv", "n/named.md", "o/a.md"]
    assert inputs.left_out.num_linked == 5
    assert inputs.num_estimated == 5


def test_links_to_folders_are_not_followed_and_told() -> None:
    write({"m/a.md": "a", "m/.gitignore": "ignored\n", "sub/s.md": "s"})
    for name in ("sd", ".hidden", "node_modules", "ignored"):
        Path(f"m/{name}").symlink_to("../sub")
    inputs = Inputs(["m"])
    assert [document.id for document in inputs] == ["m/a.md"]
    assert inputs.left_out.links == ["m/sd"]
    assert [document.id for document in Inputs(["m/sd"])] == ["m/sd/s.md"]


def test_a_notebook_is_the_text_of_its_cells() -> None:
    cells = [{"cell_type": "markdown", "source": ["# Sales\n"]}, {"cell_type": "code", "source": ["print(1)"]}]
    write({"d/n.ipynb": json.dumps({"cells": cells}), "d/o.ipynb": "no JSON"})
    inputs = Inputs(["d"])
    (document,) = inputs
    assert (document.title, document.text) == ("Sales", "# Sales\n\n```\nprint(1)\n```\n")
    assert (document.kind, document.is_file) == ("markdown", False)
    assert "d/o.ipynb is no notebook" in inputs.left_out.files["d/o.ipynb"]


def test_files_whose_names_say_that_they_are_text_need_no_suffix() -> None:
    names = ["LICENSE-MIT", "Makefile", "README", "README.Debian", "app.log", "copyright"]
    write({f"d/{name}": "text" for name in [*names, "readme.zst", "program", "license.pdf"]})
    inputs = Inputs(["d"])
    assert [document.id for document in inputs] == [f"d/{name}" for name in names]
    assert inputs.left_out.suffixes == {".zst": 1, "program": 1, ".pdf": 1}
    assert inputs.num_estimated == len(names)  # and not what is left out


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    write({"a.txt": (mark + "naïve 雨衣\n").encode(encoding)})
    assert [document.text for document in Inputs(["a.txt"])] == ["naïve 雨衣\n"]


def test_a_mark_of_what_is_not_there_is_told() -> None:
    write({"d/a.txt": b"\xff\xfea\0b", "d/b.txt": "b"})
    inputs = Inputs(["d"])
    assert [document.id for document in inputs] == ["d/b.txt"]
    assert "begins as UTF-16 and is not" in inputs.left_out.files["d/a.txt"]


def test_names_that_are_not_utf8_are_shown() -> None:
    write({"d/ok.md": "a"})
    Path(os.fsdecode(b"d/caf\xe9.md")).write_text("b")
    assert [document.id for document in Inputs(["d"])] == ["d/caf\\xe9.md", "d/ok.md"]


def test_pages_and_packed_files_of_a_folder_are_read_as_what_they_hold() -> None:
    write(
        {
            "d/changelog.Debian.gz": gzip.compress(b"farthing (0.1) unstable\n"),
            "d/data.jsonl.gz": gzip.compress(lines({"id": "r", "text": "a row"}).encode()),
            "d/notes.md.xz": lzma.compress(b"# Notes\n\nkept\n"),
            "d/page.html": "<title>A page</title><h1>Top</h1><p>words<script>no()</script>",
            "d/picture.png.gz": gzip.compress(b"\0\1"),
            "d/short.txt.gz": gzip.compress(b"cut off" * 1000)[:30],
        }
    )
    inputs = Inputs(["d"])
    found = {document.id: document for document in inputs}
    assert list(found) == ["d/changelog.Debian.gz", "r", "d/notes.md.xz", "d/page.html"]
    assert (found["d/page.html"].title, found["d/page.html"].text) == ("A page", "# Top\n\nwords\n")
    assert (found["d/page.html"].kind, found["d/page.html"].is_file) == ("markdown", False)
    assert (found["d/notes.md.xz"].title, found["d/notes.md.xz"].kind) == ("Notes", "markdown")
    assert inputs.left_out.suffixes == {".png": 1}
    assert "d/short.txt.gz cannot be unpacked" in inputs.left_out.files["d/short.txt.gz"]
    assert inputs.num_estimated == 5


def test_files_in_other_encodings_are_read_by_a_guess_that_is_told() -> None:
    chinese, french = "退货政策：三十天内可以退货。\n", "Le café est fermé à midi.\n"
    page = '<meta charset="windows-1251"><p>Товар'
    write({"d/a.txt": chinese.encode("gbk"), "d/b.txt": french.encode("latin-1"), "d/c.html": page.encode("cp1251")})
    inputs = Inputs(["d"])
    assert [document.text for document in inputs] == [chinese, french, "Товар\n"]
    assert inputs.left_out.guesses == {"d/a.txt": "gb18030", "d/b.txt": "cp1252"}


def test_a_folder_without_text_is_an_error() -> None:
    write({"src/a.png": b"\x89"})
    with pytest.raises(EmptyInputError, match="No document was found in src"):
        list(Inputs(["src"]))


def test_how_many_documents_there_are_is_estimated_once_every_input_was_looked_into() -> None:
    write({"a.jsonl": lines(*({"text": f"text {number}"} for number in range(50))), "src/a.md": "a", "src/b.md": "b"})
    inputs = Inputs(["a.jsonl", "src", "src/a.md"])
    documents = iter(inputs)
    next(documents)
    assert inputs.num_estimated is None
    assert len(list(documents)) == 52
    assert inputs.num_estimated == 53
