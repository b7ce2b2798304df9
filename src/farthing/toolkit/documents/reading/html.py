"""Reads the text of a web page as Markdown: its headings, paragraphs, lists and code, without scripts and styles.

In: HTML. Out: title and text. The parser is that of libxml2, through `lxml`. The page's main text is not told apart
from its navigation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from farthing.core.errors import InputError
from farthing.toolkit.documents.document import MARKDOWN
from farthing.toolkit.documents.reading.content import Content, OnGuess
from farthing.toolkit.documents.reading.decoding import decoded
from farthing.toolkit.documents.splitting.fences import fenced
from farthing.toolkit.optional import needed

# Elements of which nothing is text.
SILENT = frozenset({
    "script", "style", "template", "noscript", "svg", "math", "iframe", "object", "canvas", "audio", "video", "select",
    "button",
})  # fmt: skip
# Elements that stand within a line; all others begin a new one.
INLINE = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img",
    "input", "ins", "kbd", "label", "mark", "q", "ruby", "rb", "rp", "rt", "s", "samp", "small", "span", "strike",
    "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
})  # fmt: skip
PARAGRAPHS = frozenset({
    "p", "ul", "ol", "dl", "table", "blockquote", "section", "article", "hr", "figure", "header", "footer", "nav",
    "aside", "main",
})  # fmt: skip
CELLS = frozenset({"td", "th"})
HEADINGS = {f"h{level}": level for level in range(1, 7)}
BLANKS = re.compile(r"[ \t\r\n\f\xa0]+")
# The parser's time grows with the depth of the elements that are open; no page written for people is so deep.
MAX_DEPTH = 1_000
FEED_CHARS = 2**16


def read_html(content: bytes, name: str, on_guess: OnGuess) -> Content:
    title, text = title_and_text(decoded(content, name, on_guess), name)
    return Content(text, title, MARKDOWN, keeps_lines=False)


def title_and_text(content: str, name: str) -> tuple[str, str]:
    """The title of a page, and its text as Markdown.

    Args:
        name: what messages call the page.

    Raises:
        InputError: its elements nest too deep.
        MissingExtraError: `lxml` is not installed.
    """
    with needed("Reading HTML"):
        from lxml import etree
    page = Page(name)
    parser = etree.HTMLParser(target=page)
    # An encoding that the page declares was that of its bytes, which are characters by now.
    for start in range(0, len(content), FEED_CHARS):
        parser.feed(content[start : start + FEED_CHARS])
    try:
        parser.close()
    except etree.XMLSyntaxError:
        page.close()  # the page has no element at all; every other fault is repaired, as browsers do
    return page.title or page.first_heading, page.text()


class Page:
    """Receives a page's elements in their order, and puts their text into lines."""

    def __init__(self, name: str) -> None:
        self.title = self.first_heading = ""
        self._name, self._depth = name, 0
        self._silent = ""  # the element without text whose end is awaited
        self._num_silent = 0
        self._heading = self._in_title = self._in_code = False
        self._lines: list[str] = []
        self._line: list[str] = []

    # --- what the parser calls ---------------------------------------------------------------------------------------

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:  # noqa: ARG002
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InputError(f"The elements of {self._name} nest deeper than {MAX_DEPTH:,}.", param="input")
        if self._silent:
            self._num_silent += tag == self._silent
        elif tag in SILENT:
            self._silent, self._num_silent = tag, 1
        elif tag == "title":
            self._in_title = not self.title
        elif tag in HEADINGS:
            self._end_paragraph()
            self._heading = True
        elif tag == "pre":
            self._end_paragraph()
            self._in_code = True
        elif tag == "br":
            self._line.append("\n") if self._in_code else self._end_line()
        elif tag in CELLS:
            self._line.append(" ")
        elif tag not in INLINE and not self._in_code:
            self._end_paragraph() if tag in PARAGRAPHS else self._end_line()
            if tag == "li":
                self._line.append("- ")

    def end(self, tag: str) -> None:
        self._depth -= 1
        if self._silent:
            self._num_silent -= tag == self._silent
            self._silent = self._silent if self._num_silent else ""
        elif tag == "title":
            self._in_title = False
        elif tag in HEADINGS:
            self._end_heading(HEADINGS[tag])
        elif tag == "pre":
            self._end_code()
        elif tag not in INLINE and tag not in CELLS and not self._in_code:
            self._end_paragraph() if tag in PARAGRAPHS else self._end_line()

    def data(self, text: str) -> None:
        if self._in_title:
            self.title = BLANKS.sub(" ", self.title + text).lstrip()
        elif not self._silent:
            self._line.append(text)

    def comment(self, text: str) -> None:
        pass

    def close(self) -> None:
        self.title = self.title.strip()
        self._end_code() if self._in_code else self._end_line()

    # --- lines -------------------------------------------------------------------------------------------------------

    def text(self) -> str:
        return "\n".join(self._lines).strip() + "\n"

    def _taken(self) -> str:
        line = BLANKS.sub(" ", "".join(self._line)).strip()
        self._line.clear()
        return line

    def _end_line(self) -> None:
        line = self._taken()
        if line and line != "-":
            self._lines.append(line)

    def _end_paragraph(self) -> None:
        self._end_line()
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def _end_heading(self, level: int) -> None:
        words = self._taken()
        if words and self._heading:
            self.first_heading = self.first_heading or words
            self._lines += ["#" * level + " " + words, ""]
        self._heading = False

    def _end_code(self) -> None:
        code = "".join(self._line).strip("\n")
        self._line.clear()
        self._in_code = False
        if code.strip():
            self._lines += [*fenced(code), ""]
