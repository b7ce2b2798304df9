"""Reads the text of a Jupyter notebook as Markdown: its cells in their order, without their outputs.

In: JSON (https://nbformat.readthedocs.io, versions 3 and 4). Out: Markdown, with code between fences.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from farthing.core.errors import InputError
from farthing.toolkit.documents.document import MARKDOWN
from farthing.toolkit.documents.reading.content import Content, OnGuess
from farthing.toolkit.documents.reading.decoding import decoded
from farthing.toolkit.documents.reading.text import markdown_title
from farthing.toolkit.documents.splitting.fences import fenced

LANGUAGE = re.compile(r"[A-Za-z0-9+#_-]{1,20}")


def read_notebook(content: bytes, name: str, on_guess: OnGuess) -> Content:
    title, text = markdown_title(markdown_of(decoded(content, name, on_guess), name))
    return Content(text, title, MARKDOWN, keeps_lines=False)


def markdown_of(content: str, name: str) -> str:
    """The cells of a notebook as Markdown.

    Args:
        name: what messages call the notebook.

    Raises `InputError` for content that is not a notebook.
    """
    try:
        notebook = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is no notebook, which is JSON: {error}.", param="input") from error
    cells = cells_of(notebook)
    if cells is None:
        raise InputError(f"{name} is no notebook: it is JSON without a list of cells.", param="input")
    language = language_of(notebook)
    return "\n\n".join(texts_of(cells, language)) + "\n"


def cells_of(notebook: Any) -> list[Any] | None:
    if not isinstance(notebook, dict):
        return None
    sheets = notebook.get("worksheets")  # in version 3
    if isinstance(sheets, list):
        found = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
        return [cell for cells in found if isinstance(cells, list) for cell in cells]
    cells = notebook.get("cells")
    return cells if isinstance(cells, list) else None


def texts_of(cells: list[Any], language: str) -> Iterator[str]:
    """The texts of the cells that have any, with code between fences."""
    for cell in cells:
        if not isinstance(cell, dict):
            continue
        source = cell.get("source", cell.get("input"))
        lines = source if isinstance(source, list) else [source]
        text = "".join(line for line in lines if isinstance(line, str)).strip("\n")
        if text.strip():
            yield "\n".join(fenced(text, language)) if cell.get("cell_type") == "code" else text


def language_of(notebook: dict[str, Any]) -> str:
    """The language of a notebook's code, as the notebook says itself; empty where it does not."""
    metadata = notebook.get("metadata")
    for part, field in (("language_info", "name"), ("kernelspec", "language")):
        facts = metadata.get(part) if isinstance(metadata, dict) else None
        language = facts.get(field) if isinstance(facts, dict) else None
        if isinstance(language, str) and LANGUAGE.fullmatch(language):
            return language
    return ""
