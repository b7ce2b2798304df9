"""A map of clusters as one HTML file that needs nothing else.

In: texts and their `Clustering`. Out: page.html with page.css, page.js and the data inside, which loads nothing
from anywhere: its own policy forbids it. Texts are data of the page, never markup.
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

# A text has at most so many characters on the page, or the second number where many texts would make it too large.
TEXT_CHARS, MANY_TEXTS_CHARS = 1_000, 240
PAGE_CHARS = 10_000_000
NAME_TERMS = 3
LAYOUT_NAMES = {"umap": "UMAP", "pca": "the first two principal components"}


def render_page(title: str, texts: Sequence[str], clustering: Clustering) -> str:
    """The page as text. `title` names the input."""
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
    # In one pass: what is put in is not looked through again.
    return re.sub("|".join(parts), lambda place: parts[place.group()], page)


def summary(clustering: Clustering) -> str:
    """One sentence for people: how many texts, clusters, and texts in none; what the map is."""
    count, num_clusters = len(clustering.cluster), len(clustering.clusters)
    return (
        f"{count:,} texts in {num_clusters:,} cluster{'' if num_clusters == 1 else 's'}; {clustering.num_noise:,} "
        f"({clustering.num_noise / count:.0%}) in none. The map is drawn by {LAYOUT_NAMES[clustering.layout]}."
    )


def page_data(texts: Sequence[str], clustering: Clustering) -> dict[str, object]:
    """Numbers are base64 of little-endian arrays, one entry a text."""
    low, high = clustering.places.min(axis=0), clustering.places.max(axis=0)
    # One scale for both axes, the smaller extent in the middle; y grows downwards on a screen.
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
    """Of each text at most: as many as the page has room for."""
    return TEXT_CHARS if sum(min(len(text), TEXT_CHARS) for text in texts) <= PAGE_CHARS else MANY_TEXTS_CHARS


def cut(text: str, limit: int = TEXT_CHARS) -> str:
    """On one line, with at most `limit` characters."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def base64_of(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(values.astype(dtype).tobytes()).decode()


def script_json(value: object) -> str:
    """JSON that cannot end the script element it stands in, nor begin a comment or another one."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
