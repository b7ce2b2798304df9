"""A file that is one document: Markdown, plain text, source code."""

from __future__ import annotations

import re
from pathlib import Path

from farthing.core.errors import EmptyInputError, InputError
from farthing.toolkit.documents.document import MARKDOWN, PLAIN_TEXT, Document
from farthing.toolkit.documents.kinds import kind_of_file

FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(?P<fields>.*?)^---[ \t]*\r?\n", re.DOTALL | re.MULTILINE)
FRONT_TITLE = re.compile(r"^title:[ \t]*(?P<quote>['\"]?)(?P<title>.+?)(?P=quote)[ \t]*$", re.MULTILINE)
FIRST_HEADING = re.compile(r"^#[ \t]+(?P<title>.+?)[ \t]*#*[ \t]*$", re.MULTILINE)


def read_file(path: Path, name: str) -> Document:
    """
    Args:
        name: what the document is called: its id and its source.

    Raises:
        InputError: it is not text in UTF-8.
        EmptyInputError: it holds nothing but white space.
    """
    content = path.read_bytes()
    text = decoded(content, name)
    if not text.strip():
        raise EmptyInputError(f"{name} is empty: there is nothing to add.", param="input")
    kind = kind_of_file(name) or PLAIN_TEXT
    title, text = markdown_title(text) if kind == MARKDOWN else ("", text)
    return Document(id=name, text=text, title=title or name, source=name, is_file=True, kind=kind)


def decoded(content: bytes, name: str) -> str:
    if b"\0" in content[:8192]:
        raise InputError(f"{name} is not text: it holds zero bytes.", param="input")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"Line {line} of {name} is not UTF-8: byte 0x{content[error.start]:02x}. Convert the file, for example: "
            "iconv -f LATIN1 -t UTF-8 OLD > NEW",
            param="input",
        ) from error


def markdown_title(text: str) -> tuple[str, str]:
    """The title that the text gives itself, in front matter or a first heading, and the text with front matter blank.

    Lines keep their numbers.
    """
    front = FRONT_MATTER.match(text)
    body = "\n" * front[0].count("\n") + text[front.end() :] if front else text
    found = (FRONT_TITLE.search(front["fields"]) if front else None) or FIRST_HEADING.search(body)
    return (found["title"] if found else ""), body
