"""The page at / for browsers: what this server is, what it serves, and where to go on from there.

In: the service and the address that the client called. Out: HTML. Programs get JSON there (`farthing.server.admin`),
unless they prefer HTML to it.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

from farthing.core.version import __version__
from farthing.server.pages.page import render_curl, render_page

if TYPE_CHECKING:
    from farthing.models.forward.heads import Task
    from farthing.server.models.service import Service

MAX_RANGES = 64  # in an Accept header; browsers send fewer than ten
WEIGHT = re.compile(r"q=([01](?:\.[0-9]{0,3})?)")
TASKS: dict[Task | None, str] = {"embed": "makes vectors", "rerank": "scores pairs of texts", None: "is not loaded yet"}
LINKS = {
    "/docs": "every route and field, with examples",
    "/health": "whether requests can be answered now",
    "/metrics": "figures for Prometheus",
    "/openapi.json": "the routes, for programs",
}


def render_front(service: Service, base_url: str, *, needs_key: bool) -> str:
    """Return the page. Its example calls `base_url`, and sends a key with `needs_key`."""
    url = base_url.rstrip("/")
    path, body = trial(service.default.task)
    entries = service.models.entries
    models = [f"<li><code>{escape(entry.name)}</code> {TASKS[entry.task]}</li>" for entry in entries]
    routes = service.models.listed_names[len(entries) :]
    models += [f"<li><code>{escape(name)}</code> is a route over several of them</li>" for name in routes]
    links = [f'<li><a href="{path}">{path}</a>: {words}</li>' for path, words in LINKS.items()]
    parts = [
        f"<h1>Farthing {escape(__version__)}</h1>",
        "<p>This server turns texts into vectors, and scores how well texts answer a query. It is called by programs; "
        "OpenAI's clients work as they are.</p>",
        f"<h2>Models</h2><ul>{''.join(models)}</ul>",
        f"<h2>Try it</h2>{render_curl(url + path, body, needs_key=needs_key)}",
        f"<h2>More</h2><ul>{''.join(links)}</ul>",
    ]
    return render_page("Farthing", parts)


def trial(task: Task | None) -> tuple[str, dict[str, Any]]:
    """Return the path and the body of a request that tries a model for `task`."""
    if task == "rerank":
        return "/v1/rerank", {"query": "Hello", "documents": ["Hi", "Bye"]}
    return "/v1/embeddings", {"input": "Hello"}


def prefers_html(accept: str) -> bool:
    """Return whether an Accept header prefers HTML to JSON. Browsers' headers do; curl's or no header does not."""
    return weight_of("text/html", accept) > weight_of("application/json", accept)


def weight_of(wanted: str, accept: str) -> float:
    """Return the weight of a media type, from 0 to 1, by the most specific range that it is in (RFC 9110, 12.5.1)."""
    ranges = ("*/*", f"{wanted.partition('/')[0]}/*", wanted)
    found = (-1, 0.0)
    for part in accept.split(",", MAX_RANGES)[:MAX_RANGES]:
        name, *parameters = [piece.strip().lower() for piece in part.split(";")]
        if name in ranges and ranges.index(name) > found[0]:
            found = (ranges.index(name), own_weight(parameters))
    return found[1]


def own_weight(parameters: list[str]) -> float:
    """Return the weight that the parameters give. A weight that cannot be read counts as 0."""
    said = next((parameter for parameter in parameters if parameter.startswith("q=")), "q=1")
    matched = WEIGHT.fullmatch(said)
    return 0.0 if matched is None else float(matched[1])
