"""Tells known files that are not text, by their first bytes or their suffix, and says how to get their text."""

from __future__ import annotations

from typing import NamedTuple

from farthing.core.errors import InputError


class Format(NamedTuple):
    """
    Attributes:
        name: what a file of this format is, in words.
        remedy: how to get its text, as a sentence; empty where it has no text.
        starts: what such files begin with.
        suffixes: the suffixes of their names, without the dot.
    """

    name: str
    remedy: str
    starts: tuple[bytes, ...]
    suffixes: tuple[str, ...]


ZIP, OLE = (b"PK\x03\x04", b"PK\x05\x06"), b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Of formats that begin alike, the one that has the file's suffix counts, else the last.
FORMATS = (
    Format("a PDF", "Make text of it first, for example: pdftotext OLD.pdf NEW.txt", (b"%PDF-",), ("pdf",)),
    Format(
        "a file of an office program",
        "Make text of it first, for example: pandoc OLD -t gfm -o NEW.md",
        (*ZIP, b"{\\rtf"),
        ("docx", "odt", "epub", "rtf"),
    ),
    Format("a spreadsheet", "Save each of its sheets as CSV.", (*ZIP, OLE), ("xlsx", "ods", "xls")),
    Format(
        "a file of an office program", "Save it as text in that program.", (OLE, *ZIP), ("doc", "ppt", "pptx", "odp")
    ),
    Format(
        "a zip file, as those of office programs are",
        "Unpack it, or make text of it first, for example: pandoc OLD.docx -t gfm -o NEW.md",
        ZIP,
        ("zip",),
    ),
    Format("packed by gzip", "Unpack it first, or let its name end with .gz.", (b"\x1f\x8b\x08",), ()),
    Format(
        "packed by bzip2",
        "Unpack it first, or let its name end with .bz2.",
        tuple(b"BZh%d1AY&SY" % level for level in range(1, 10)),
        (),
    ),
    Format("packed by xz", "Unpack it first, or let its name end with .xz.", (b"\xfd7zXZ\x00",), ()),
    Format("packed by zstd", "Unpack it first: zstd -d FILE.zst", (b"\x28\xb5\x2f\xfd",), ("zst",)),
    Format("an archive", "Unpack it first.", (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07"), ("7z", "rar", "tar")),
    Format("a Parquet file", "Let its name end with .parquet, or give --input-format parquet.", (b"PAR1\x15",), ()),
    Format(
        "an image",
        "",
        (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a"),
        ("png", "jpg", "jpeg", "gif", "svg", "ico", "webp", "bmp", "tif", "tiff"),
    ),
)


def check_is_text(head: bytes, name: str) -> None:
    """Raise `InputError` for a file whose first bytes, `head`, are those of a format that is not text."""
    found = [known for known in FORMATS if head.startswith(known.starts)]
    if found:
        suffix = name.lower().rpartition(".")[2]
        known = next((each for each in found if suffix in each.suffixes), found[-1])
        raise InputError(f"{name} is {known.name}, which is not read as text. {known.remedy}".rstrip(), param="input")


def format_named(suffix: str) -> Format | None:
    """The format of files with this suffix, such as ".pdf"; None where it is not known."""
    return next((known for known in FORMATS if suffix.removeprefix(".") in known.suffixes), None)
