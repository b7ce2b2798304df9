"""Reads text files as they are: Markdown, reStructuredText, plain text and source code, with the title that a file
gives itself."""

from __future__ import annotations

import itertools

from farthing.toolkit.documents.document import MARKDOWN, PLAIN_TEXT
from farthing.toolkit.documents.kinds import kind_of_text
from farthing.toolkit.documents.reading.content import Content, OnGuess
from farthing.toolkit.documents.reading.decoding import decoded
from farthing.toolkit.documents.splitting.headings import BLANKS, headings

# A title in reStructuredText stands within so many characters, and is underlined by one of these.
RST_TITLE_CHARS, RST_UNDERLINES = 8192, "=-~^\"'`#*+:._"


def read_text(content: bytes, name: str, on_guess: OnGuess) -> Content:
    """Read a text of the kind that its file's name tells; it is plain text where the name tells none."""
    return Content(decoded(content, name, on_guess), kind=kind_of_text(name) or PLAIN_TEXT)


def read_markdown(content: bytes, name: str, on_guess: OnGuess) -> Content:
    title, text = markdown_title(decoded(content, name, on_guess))
    return Content(text, title, MARKDOWN)


def read_rst(content: bytes, name: str, on_guess: OnGuess) -> Content:
    text = decoded(content, name, on_guess)
    return Content(text, rst_title(text))


def markdown_title(text: str) -> tuple[str, str]:
    """The title that the text gives itself, in front matter or a first heading, and the text with its front matter
    blanked.

    Lines keep their numbers.
    """
    fields, end = front_matter(text)
    body = "\n" * text.count("\n", 0, end) + text[end:]
    first = (heading.title for heading in headings(body) if heading.level == 1)
    return title_field(fields) or next(first, ""), body


def rst_title(text: str) -> str:
    """The first underlined line (reStructuredText) near the text's beginning; empty where there is none."""
    lines = [line.strip() for line in text[:RST_TITLE_CHARS].splitlines()]
    for title, underline in itertools.pairwise(lines):
        is_line = (
            len(underline) >= len(title) and underline[:1] in RST_UNDERLINES and not underline.strip(underline[:1])
        )
        if title and title.strip(RST_UNDERLINES) and underline and is_line:
            return title
    return ""


def front_matter(text: str) -> tuple[list[str], int]:
    """The lines between a first line of three dashes and the next such line, and where the text after them begins."""
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
