"""Reads a file that is one document, packed or not, with the reader that its suffix calls for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from farthing.core.errors import EmptyInputError, InputError
from farthing.toolkit.documents.document import Document
from farthing.toolkit.documents.kinds import kind_of_text, suffix_of
from farthing.toolkit.documents.limits import MAX_TEXT_CHARS, fitting_title
from farthing.toolkit.documents.reading.content import ContentReader
from farthing.toolkit.documents.reading.html import read_html
from farthing.toolkit.documents.reading.notebook import read_notebook
from farthing.toolkit.documents.reading.text import read_markdown, read_rst, read_text
from farthing.toolkit.records.packed import Unpacked, name_inside, packing_of

MAX_BYTES = 4 * MAX_TEXT_CHARS  # a character takes at most four bytes

# To add a kind of file, add a reader in a file beside this one, and a row here. Other files that are known to be text
# (`farthing.toolkit.documents.kinds`) are read by `read_text`.
READERS: dict[str, ContentReader] = {
    **dict.fromkeys(("md", "markdown", "mdx"), read_markdown),
    **dict.fromkeys(("html", "htm", "xhtml"), read_html),
    "ipynb": read_notebook,
    "rst": read_rst,
}


def is_readable(name: str) -> bool:
    """Whether a file's name says that it can be read; of a packed file, the name of what is inside."""
    return suffix_of(name_inside(name)) in READERS or kind_of_text(name) is not None


def read_file(path: Path, name: str, on_guess: Callable[[str], object] = lambda _: None) -> Document:
    """Read a file as one document.

    Args:
        name: the document's id and source.
        on_guess: is told the encoding, where it was guessed.

    Raises:
        InputError: the file is not text in an encoding that can be told, is packed and cut off, is too large, or is not
            what its suffix says.
        EmptyInputError: it holds nothing but white space.
    """
    with closing(Unpacked(path, name) if packing_of(path.name) else path.open("rb")) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError(
            f"{name} has more than {MAX_BYTES:,} bytes; a document has at most {MAX_TEXT_CHARS:,} characters. "
            "Split the file.",
            param="input",
        )
    read = READERS.get(suffix_of(name_inside(name)), read_text)
    found = read(content, name, on_guess)
    if not found.text.strip():
        raise EmptyInputError(f"{name} is empty: there is nothing to add.", param="input")
    title = fitting_title(found.title or name)
    return Document(id=name, text=found.text, title=title, source=name, is_file=found.keeps_lines, kind=found.kind)
