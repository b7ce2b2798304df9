"""`farthing search`: finds passages of an index that answer a query.

In: an index and a query. Out: on standard output, results for people to read, or JSON Lines.
"""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from farthing.cli.common.data_options import ENCODER_GROUPS, SEARCH_BYTES, index_encoder, opened_reranker
from farthing.cli.common.options import SettingsCommand, settings_options
from farthing.cli.common.terminal import is_styled, terminal_width
from farthing.core.resolve import Resolved
from farthing.core.settings import UpstreamSettings

if TYPE_CHECKING:
    from farthing.toolkit.index.excerpt import Excerpt
    from farthing.toolkit.index.result import SearchResult

INDENT = " " * 5
DIGEST = re.compile(r"[0-9a-f]{32}")  # the id of a document that has no name of its own
EXAMPLES = """farthing search ./help how do I change my password
farthing search ./shop "rain coat" --where "price <= 80" --where "in_stock = true" -k 20 --json"""


@click.command("search", cls=SettingsCommand, epilog=EXAMPLES)
@click.argument("store")
@click.argument("query", nargs=-1, required=True)
@click.option("-k", "num_results", type=click.IntRange(min=1), default=10, help="How many results [default: 10].")
@click.option(
    "--mode",
    type=click.Choice(("hybrid", "vector", "keyword")),
    default="hybrid",
    help="By meaning and by words, by meaning, or by words, which needs no model [default: hybrid].",
)
@click.option(
    "--where",
    "conditions",
    multiple=True,
    help="Condition on a field, such as 'price <= 20' or 'tags = new'; may be repeated.",
)
@click.option("--vector-weight", type=float, help="Of the cosine in hybrid; the rest is the words' [default: 0.6].")
@click.option(
    "--fusion",
    type=click.Choice(("sum", "ranks")),
    help="How both scores become one: as a sum, or by ranks [default: sum].",
)
@click.option("--rerank", "reranker", help="Reranker that orders the best of them anew, as `farthing rerank` takes it.")
@click.option(
    "--rerank-upstream",
    metavar="URL",
    help="Server that computes the reranker, as --upstream is for the index's model.",
)
@click.option("--instruction", help="The task in words, for models that take one with a query.")
@click.option("--all-passages", is_flag=True, help="Show several passages of a document [default: the best of each].")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.option("--model", help="Another name of the index's model [default: as it was created].")
@settings_options(*ENCODER_GROUPS)
def search(
    store: str,
    query: tuple[str, ...],
    num_results: int,
    mode: str,
    conditions: tuple[str, ...],
    vector_weight: float | None,
    fusion: str | None,
    reranker: str | None,
    rerank_upstream: str | None,
    instruction: str | None,
    all_passages: bool,
    as_json: bool,
    model: str | None,
    settings: Resolved,
) -> None:
    """Find the passages of the index STORE that answer QUERY, which may be several words without quotes."""
    from farthing.toolkit.index.hybrid import Blend
    from farthing.toolkit.index.index import VectorIndex
    from farthing.toolkit.index.search import Query
    from farthing.toolkit.index.search import search as ask
    from farthing.toolkit.index.unmet import check_met
    from farthing.toolkit.stores.database import open_database
    from farthing.toolkit.stores.where import parse_conditions

    given = {"vector_weight": vector_weight, "fusion": fusion}
    wanted = Query(
        " ".join(query),
        num_results,
        mode,  # type: ignore[arg-type]
        parse_conditions(conditions),
        Blend(**{name: value for name, value in given.items() if value is not None}),  # type: ignore[arg-type]
        instruction,
        all_passages,
    )
    if rerank_upstream and not reranker:
        raise click.UsageError("--rerank-upstream names the server of a reranker; say which with --rerank MODEL.")
    index = VectorIndex.open(open_database(store))
    check_met(index.store, wanted.where)  # before a model is loaded
    with ExitStack() as stack:
        encoder = None
        if mode != "keyword":
            encoder = stack.enter_context(index_encoder(index.manifest, model, settings, SEARCH_BYTES))
        elsewhere = reranker_upstream(settings.group(UpstreamSettings), rerank_upstream)
        ranker = stack.enter_context(opened_reranker(reranker, settings, elsewhere)) if reranker else None
        results = ask(index, wanted, encoder, ranker)
    is_empty = not results and not index.info().facts.num_documents
    if as_json:
        for result in results:
            click.echo(json.dumps(result.to_dict(), ensure_ascii=False))
    elif results:
        click.echo("\n\n".join(shown(place, result) for place, result in enumerate(results, start=1)))
    else:
        empty = f"Nothing is in the index yet. Add documents with: farthing index add {store} FILES"
        click.echo(empty if is_empty else "Nothing found.")


def reranker_upstream(encoder: UpstreamSettings, url: str | None) -> UpstreamSettings:
    """Return where the reranker is computed: at `url` if there is one, else here. The server of the index's model is
    another matter; its key and times count for both.
    """
    return replace(encoder, upstream=url, upstream_model=None, engine="farthing")


def shown(place: int, result: SearchResult) -> str:
    """Return a result as a block of lines: number, title and score; where it is from; what it says."""
    from farthing.toolkit.index.excerpt import is_of_lines

    passage = result.passage
    title = passage.title or (passage.source if DIGEST.fullmatch(passage.document) else "") or passage.document
    where = " · ".join(dict.fromkeys(part for part in (passage.heading, passage.source) if part and part != title))
    head = f"{place:>3}. {click.style(title, bold=True)}  {click.style(scores(result), dim=True)}"
    width = terminal_width()
    gap = "\n" if is_of_lines(passage.source) else " "
    text = marked(result.excerpt if width is None else in_lines(result.excerpt, width - len(INDENT) - 2), gap)
    lines = [head, click.style(where, dim=True) if where else "", *text.splitlines()]
    return f"\n{INDENT}".join(line for line in lines if line)


def scores(result: SearchResult) -> str:
    parts = {"cosine": result.cosine, "words": result.bm25}
    details = ", ".join(f"{name} {value:.2f}" for name, value in parts.items() if value is not None)
    return f"{result.score:.3f} ({details})" if result.score not in parts.values() else details


def in_lines(excerpt: Excerpt, width: int) -> Excerpt:
    """Replace some spaces with line ends, so that no line is longer than `width` where that can be avoided."""
    chars, start = list(excerpt.text), 0
    for place, char in enumerate(excerpt.text):
        if char == "\n":
            start = place + 1
        elif place - start >= width:
            space = excerpt.text.rfind(" ", start + 1, place)
            if space > start and excerpt.text[start:space].strip():  # not in the indentation of a line of code
                chars[space] = "\n"
                start = space + 1
    return excerpt._replace(text="".join(chars))


def marked(excerpt: Excerpt, gap: str) -> str:
    """Return the excerpt with its matching words in bold on a terminal, and between stars elsewhere.

    `gap` separates the excerpt from the dots that stand for the text before and after it.
    """
    pieces, end = [], 0
    for first, last in excerpt.marks:
        word = excerpt.text[first:last]
        pieces += [
            excerpt.text[end:first],
            click.style(word, bold=True, fg="yellow") if is_styled() else f"*{word}*",
        ]
        end = last
    text = "".join([*pieces, excerpt.text[end:]])
    return ("" if excerpt.is_start else f"…{gap}") + text + ("" if excerpt.is_end else f"{gap}…")
