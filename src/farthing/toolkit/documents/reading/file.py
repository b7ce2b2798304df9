"""A file that is one document: Markdown, plain text, a web page, a notebook, source code; packed or not."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from farthing.core.errors import EmptyInputError, InputError
from farthing.toolkit.documents.document import MARKDOWN, PLAIN_TEXT, Document
from farthing.toolkit.documents.kinds import HTML, NOTEBOOK, kind_of_file, suffix_of
from farthing.toolkit.documents.limits import MAX_TEXT_CHARS, fitting_title
from farthing.toolkit.documents.reading.html import read_html
from farthing.toolkit.documents.reading.notebook import read_notebook
from farthing.toolkit.documents.splitting.headings import BLANKS, headings
from farthing.toolkit.records.encoding import encoding_of, guessed_encoding, not_encoded
from farthing.toolkit.records.packed import Unpacked, name_inside, packing_of

MAX_BYTES = 4 * MAX_TEXT_CHARS  # a character takes at most four
CHARSET, DECLARED_BYTES = re.compile(rb"""(?:charset|encoding) ?= ?["']?([A-Za-z0-9_-]{1,40})"""), 1024
# Where the title of a file of reStructuredText stands, and what underlines it.
RST_TITLE_CHARS, RST_UNDERLINES = 8192, "=-~^\"'`#*+:._"


def read_file(path: Path, name: str, on_guess: Callable[[str], object] = lambda _: None) -> Document:
    """
    Args:
        name: what the document is called: its id and its source.
        on_guess: is told the encoding, where it is a guess.

    Raises:
        InputError: it is no text in an encoding that can be told, is packed and cut off, is too large, or not what its
            suffix says.
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
    text = decoded(content, name, on_guess)
    kind, title = kind_of_file(name) or PLAIN_TEXT, ""
    if kind == HTML:
        title, text = read_html(text, name)
    elif kind in (MARKDOWN, NOTEBOOK):
        text = read_notebook(text, name) if kind == NOTEBOOK else text
        title, text = markdown_title(text)
    elif suffix_of(name_inside(name)) == "rst":
        title = rst_title(text)
    if not text.strip():
        raise EmptyInputError(f"{name} is empty: there is nothing to add.", param="input")
    return Document(
        id=name,
        text=text,
        title=fitting_title(title or name),
        source=name,
        is_file=kind not in (HTML, NOTEBOOK),
        kind=MARKDOWN if kind in (HTML, NOTEBOOK) else kind,
    )


def decoded(content: bytes, name: str, on_guess: Callable[[str], object] = lambda _: None) -> str:
    """What a byte-order mark says, UTF-8, what the page says of itself, or what its beginning looks like."""
    encoding = encoding_of(content, name)
    if encoding is not None:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError as error:
            raise not_encoded(name, encoding, error) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        declared, guessed = declared_encoding(content), guessed_encoding(content)
        for encoding in filter(None, (declared, guessed)):
            try:
                text = content.decode(encoding)
            except (UnicodeDecodeError, LookupError):  # what a page says of itself may be wrong
                continue
            if encoding != declared:
                on_guess(encoding)
            return text
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"Line {line} of {name} is not UTF-8: byte 0x{content[error.start]:02x}; nor can another encoding be told. "
            "Convert the file, for example: iconv -f LATIN1 -t UTF-8 OLD > NEW",
            param="input",
        ) from error


def declared_encoding(content: bytes) -> str | None:
    """What a web page or XML says in its first bytes."""
    found = CHARSET.search(content[:DECLARED_BYTES])
    return None if found is None else found[1].decode("ascii")


def markdown_title(text: str) -> tuple[str, str]:
    """The title that the text gives itself, in front matter or a first heading, and the text with front matter blank.

    Lines keep their numbers.
    """
    fields, end = front_matter(text)
    body = "\n" * text.count("\n", 0, end) + text[end:]
    first = (heading.title for heading in headings(body) if heading.level == 1)
    return title_field(fields) or next(first, ""), body


def rst_title(text: str) -> str:
    """The first of its lines that is underlined (reStructuredText), among the first ones."""
    lines = [line.strip() for line in text[:RST_TITLE_CHARS].splitlines()]
    for title, underline in itertools.pairwise(lines):
        is_line = (
            len(underline) >= len(title) and underline[:1] in RST_UNDERLINES and not underline.strip(underline[:1])
        )
        if title and title.strip(RST_UNDERLINES) and underline and is_line:
            return title
    return ""


def front_matter(text: str) -> tuple[list[str], int]:
    """The lines between the first one, of three dashes, and the next such line; and where what follows begins."""
    lines: list[str] = []
    start = 0
    while (end := text.find("\n", start)) >= 0:
        line, start = text[start:end].rstrip(BLANKS + "\r"), end + 1
        if line == "---" and lines:
            return lines[1:], start
        if line != "---" and not lines:
            break
        lines.append(line)
    return [], 0


def title_field(fields: list[str]) -> str:
    """The first title among the fields of front matter, without its quotes."""
    for field in fields:
        value = field.removeprefix("title:").strip()
        if field.startswith("title:") and value:
            is_quoted = len(value) > 2 and value[0] in "'\"" and value[-1] == value[0]
            return value[1:-1] if is_quoted else value
    return ""
