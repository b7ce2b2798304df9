from __future__ import annotations

import html
import re
import shlex
from types import SimpleNamespace
from typing import Any

import pytest

from farthing.server.models.directory import Directory
from farthing.server.models.slot import ModelEntry
from farthing.server.pages.front import MAX_RANGES, prefers_html, render_front


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),  # Chrome, Firefox, Safari
        ("text/html, application/json;q=0.9", True),
        ("TEXT/HTML", True),
        ("text/*, */*;q=0.1", True),
        ("text/html;level=1;q=0.5", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/html, application/json", False),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=nan", False),
        ("text/html;q=2, */*;q=0.1", False),
        ("text/html;q=1e3", False),
        ("application/*;q=0.9, text/html;q=0.8", False),
        (";,;,q=1", False),
        ("a/b," * MAX_RANGES + "text/html", False),
    ],
)
def test_html_is_for_who_prefers_it_to_json(accept: str, expected: bool) -> None:
    assert prefers_html(accept) == expected


def rendered(*entries: ModelEntry, needs_key: bool = False, url: str = "http://127.0.0.1:1/") -> str:
    models = Directory(entries, {"any": [entry.name for entry in entries]})
    service: Any = SimpleNamespace(models=models, default=entries[0])
    return render_front(service, url, needs_key=needs_key)


def entry(name: str, task: Any = "embed") -> ModelEntry:
    return ModelEntry(name, lambda: pytest.fail("nothing is loaded"), task=task)


def test_models_and_routes_are_named() -> None:
    page = rendered(entry("small"), entry("judge", "rerank"), entry("later", None))
    items = re.findall("<li><code>(.*?)</code> (.*?)</li>", page)
    assert items == [
        ("small", "makes vectors"),
        ("judge", "scores pairs of texts"),
        ("later", "is not loaded yet"),
        ("any", "is a route over several of them"),
    ]


def test_no_word_of_anybody_is_markup() -> None:
    page = rendered(entry("<script>alert(1)</script>&\"'"), url="http://<b>\"'&/")
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#x27;" in page


@pytest.mark.parametrize(("task", "path"), [("embed", "/v1/embeddings"), ("rerank", "/v1/rerank")])
def test_the_command_asks_what_the_model_does_and_sends_a_key_where_one_is_needed(task: str, path: str) -> None:
    for needs_key in (False, True):
        (command,) = re.findall("<pre>(.*?)</pre>", rendered(entry("m", task), needs_key=needs_key))
        parts = shlex.split(html.unescape(command))
        assert parts[:2] == ["curl", f"http://127.0.0.1:1{path}"]
        assert ("authorization: Bearer KEY" in parts) == needs_key
