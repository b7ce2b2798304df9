from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile

import pytest

from farthing.core.errors import InputError
from farthing.toolkit.records.encoding import encoding_of
from farthing.toolkit.records.not_text import format_named


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("word/document.xml", "<w:t>words</w:t>")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.pdf", b"%PDF-1.4\nraw obj\n", "d.pdf is a PDF, which is not read as text. Make text of it first, for"),
        ("d.txt", b"%PDF-1.4\nraw obj\n\0", "d.txt is a PDF"),
        ("w.docx", zipped(), "w.docx is a file of an office program, which is not read as text. Make text of it first"),
        ("w.XLSX", zipped(), "w.XLSX is a spreadsheet, which is not read as text. Save each of its sheets as CSV."),
        ("w.dat", zipped(), "w.dat is a zip file, as those of office programs are, which is not read as text. Unpack"),
        ("w.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "w.doc is a file of an office program"),
        ("w.rtf", b"{\\rtf1\\ansi words}", "w.rtf is a file of an office program"),
        (
            "t.txt",
            gzip.compress(b"words", mtime=0),
            "t.txt is packed by gzip, which is not read as text. Unpack it first, or",
        ),
        ("t.txt", bz2.compress(b"words"), "t.txt is packed by bzip2"),
        ("t.txt", lzma.compress(b"words"), "t.txt is packed by xz"),
        ("i.txt", b"\x89PNG\r\n\x1a\n\0", "i.txt is an image, which is not read as text."),
    ],
)
def test_what_a_file_is_stands_in_its_first_bytes(name: str, content: bytes, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        encoding_of(content, name)
    assert str(refusal.value).startswith(message)
    assert "UTF-16" not in str(refusal.value)


@pytest.mark.parametrize(
    "content", [b"", b"%PDF is a format", b"PK is short for it", b"BZh, or not", b"{rtf}", b"GIF", b"PAR1,PAR2"]
)
def test_text_that_begins_nearly_so_is_text(content: bytes) -> None:
    assert encoding_of(content, "a.txt") is None


def test_suffixes_have_the_same_remedies() -> None:
    assert [getattr(format_named(suffix), "name", None) for suffix in (".pdf", ".xls", ".png", ".eml", "program")] == [
        "a PDF",
        "a spreadsheet",
        "an image",
        None,
        None,
    ]
