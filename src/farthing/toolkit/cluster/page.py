"""A map of clusters as one HTML file that needs nothing else.

In: texts and their `Clustering`. Out: page.html with page.css, page.js and the data inside. The page loads nothing from
anywhere; its own policy forbids it. Texts are data of the page, never markup.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from farthing.toolkit.cluster.clustering import Cluster, Clustering

# Most characters of a text on the page; the second number counts where many texts would make the page too large.
TEXT_CHARS, MANY_TEXTS_CHARS = 1_000, 240
PAGE_CHARS = 10_000_000
NAME_TERMS = 3
LAYOUT_NAMES = {"umap": "UMAP", "pca": "the first two principal components"}


def render_page(title: str, texts: Sequence[str], clustering: Clustering) -> str:
    """Return the page as HTML. `title` names the input."""
    folder = files("farthing.toolkit.cluster")
    page, style, program = (
        folder.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    parts = {
        "__STYLE__": style,
        "__PROGRAM__": program,
        "__TITLE__": html.escape(f"Clusters of {title}"),
        "__SUMMARY__": html.escape(summary(clustering)),
        "__DATA__": script_json(page_data(texts, clustering)),
    }
    # In one pass, so that placeholders inside the inserted parts are not replaced.
    return re.sub("|".join(parts), lambda place: parts[place.group()], page)


def summary(clustering: Clustering) -> str:
    """Say for people how many texts there are, how many clusters, how many texts are in none, and what the map is."""
    count, num_clusters = len(clustering.cluster), len(clustering.clusters)
    return (
        f"{count:,} texts in {num_clusters:,} cluster{'' if num_clusters == 1 else 's'}; {clustering.num_noise:,} "
        f"({clustering.num_noise / count:.0%}) in none. The map is drawn by {LAYOUT_NAMES[clustering.layout]}."
    )


def page_data(texts: Sequence[str], clustering: Clustering) -> dict[str, object]:
    """Return the data of the page. Numbers are base64 of little-endian arrays with one entry for each text."""
    low, high = clustering.places.min(axis=0), clustering.places.max(axis=0)
    # Both axes have one scale, with the smaller extent in the middle; y grows downwards on a screen.
    places = (clustering.places - (low + high) / 2) / max(float((high - low).max()), 1e-12)
    places = 0.5 + places * (1, -1)
    limit = chars_shown(texts)
    return {
        "places": base64_of(places, "<f4"),
        "clusters": base64_of(clustering.cluster, "<i4"),
        "probability": base64_of(np.round(clustering.probability * 100), "u1"),
        "noise": clustering.num_noise,
        "texts": [cut(text, limit) for text in texts],
        "table": [table_row(cluster) for cluster in clustering.clusters],
    }


def table_row(cluster: Cluster) -> dict[str, object]:
    name = ", ".join(cluster.terms[:NAME_TERMS]) or cluster.label
    return {"label": cluster.label, "name": name, "size": cluster.size, "central": list(cluster.central)}


def chars_shown(texts: Sequence[str]) -> int:
    """Return how many characters of each text the page has room for."""
    return TEXT_CHARS if sum(min(len(text), TEXT_CHARS) for text in texts) <= PAGE_CHARS else MANY_TEXTS_CHARS


def cut(text: str, limit: int = TEXT_CHARS) -> str:
    """Return the text on one line, cut to `limit` characters."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def base64_of(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(values.astype(dtype).tobytes()).decode()


def script_json(value: object) -> str:
    """Return JSON that can neither end the script element it stands in nor begin a comment or another script."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
