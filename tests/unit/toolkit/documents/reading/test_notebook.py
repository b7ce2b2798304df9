from __future__ import annotations

import json

import pytest

from farthing.core.errors import InputError
from farthing.toolkit.documents.reading.notebook import markdown_of

CELLS = [
    {"cell_type": "markdown", "source": ["# Sales\n", "Of the year."]},
    {"cell_type": "code", "source": "print(1)\n", "outputs": [{"text": ["a secret\n"]}]},
    {"cell_type": "code", "source": []},
    {"cell_type": "raw", "source": ["as it is"]},
]


def test_cells_come_as_markdown_without_what_they_put_out() -> None:
    notebook = {"cells": CELLS, "metadata": {"language_info": {"name": "python"}}, "nbformat": 4}
    assert markdown_of(json.dumps(notebook), "a.ipynb") == (
        "# Sales\nOf the year.\n\n```python\nprint(1)\n```\n\nas it is\n"
    )


def test_notebooks_of_version_3_are_read() -> None:
    cells = [{"cell_type": "code", "input": "a = '```'"}, {"cell_type": "markdown", "source": "words"}]
    assert markdown_of(json.dumps({"worksheets": [{"cells": cells}]}), "a.ipynb") == (
        "````\na = '```'\n````\n\nwords\n"
    )


@pytest.mark.parametrize(
    "cells", [[None, 1, "x", {}, {"source": None}, {"source": [1, {"a": 2}]}, {"source": ["hi"]}], [{"source": "hi"}]]
)
@pytest.mark.parametrize("metadata", [None, [], {"language_info": 1, "kernelspec": {"language": "\n```"}}])
def test_what_is_odd_in_it_does_no_harm(cells: list[object], metadata: object) -> None:
    assert markdown_of(json.dumps({"cells": cells, "metadata": metadata}), "a.ipynb") == "hi\n"


@pytest.mark.parametrize("content", ["", "words", "[]", "{}", '{"cells": 1}', "[" * 100_000])
def test_what_is_no_notebook_is_said(content: str) -> None:
    with pytest.raises(InputError, match=r"a\.ipynb is no notebook"):
        markdown_of(content, "a.ipynb")
