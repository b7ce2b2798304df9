"""`farthing search`: passages of an index that answer a query.

In: an index and a query. Out: on standard output, results as people read them, or JSON Lines.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from farthing.cli.data_options import ENCODER_GROUPS, index_encoder
from farthing.cli.options import SettingsCommand, settings_options
from farthing.core.resolve import Resolved
from farthing.core.settings import EngineSettings, ServingSettings, SourceSettings

if TYPE_CHECKING:
    from farthing.serving.reranker import Reranker
    from farthing.toolkit.index.excerpt import Excerpt
    from farthing.toolkit.index.result import SearchResult

EXAMPLES = """Examples: farthing search ./help "how do I change my password?"
farthing search ./shop "rain coat" --where "price <= 80" --where "in_stock = true" -k 20 --json"""


@click.command("search", cls=SettingsCommand, epilog=EXAMPLES)
@click.argument("store")
@click.argument("query")
@click.option("-k", "num_results", type=click.IntRange(min=1), default=10, help="How many results [default: 10].")
@click.option(
    "--mode",
    type=click.Choice(("hybrid", "vector", "keyword")),
    default="hybrid",
    help="By meaning and by words, by meaning, or by words, which needs no model [default: hybrid].",
)
@click.option(
    "--where", "conditions", multiple=True, help="Condition on a field, such as 'price <= 20'; may be repeated."
)
@click.option("--vector-weight", type=float, help="Of the cosine in hybrid; the rest is the words' [default: 0.6].")
@click.option(
    "--fusion",
    type=click.Choice(("sum", "ranks")),
    help="How both scores become one: as a sum, or by ranks [default: sum].",
)
@click.option("--rerank", "reranker", help="Reranker that orders the best of them anew, as `farthing rerank` takes it.")
@click.option("--instruction", help="The task in words, for models that take one with a query.")
@click.option("--all-passages", is_flag=True, help="Show several passages of a document [default: the best of each].")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.option("--model", help="Another name of the index's model [default: as it was created].")
@settings_options(*ENCODER_GROUPS)
def search(
    store: str,
    query: str,
    num_results: int,
    mode: str,
    conditions: tuple[str, ...],
    vector_weight: float | None,
    fusion: str | None,
    reranker: str | None,
    instruction: str | None,
    all_passages: bool,
    as_json: bool,
    model: str | None,
    settings: Resolved,
) -> None:
    """Find the passages of the index STORE that answer QUERY."""
    from farthing.toolkit.index.hybrid import Blend
    from farthing.toolkit.index.index import VectorIndex
    from farthing.toolkit.index.search import Query
    from farthing.toolkit.index.search import search as ask
    from farthing.toolkit.stores.database import open_database
    from farthing.toolkit.stores.where import parse_conditions

    given = {"vector_weight": vector_weight, "fusion": fusion}
    wanted = Query(
        query,
        num_results,
        mode,  # type: ignore[arg-type]
        parse_conditions(conditions),
        Blend(**{name: value for name, value in given.items() if value is not None}),  # type: ignore[arg-type]
        instruction,
        all_passages,
    )
    index = VectorIndex.open(open_database(store))
    with ExitStack() as stack:
        encoder = None
        if mode != "keyword":
            encoder = stack.enter_context(index_encoder(index.manifest.space, model or index.manifest.model, settings))
        ranker = stack.enter_context(opened_reranker(reranker, settings)) if reranker else None
        results = ask(index, wanted, encoder, ranker)
    if as_json:
        for result in results:
            click.echo(json.dumps(result.to_dict(), ensure_ascii=False))
    else:
        click.echo(
            "\n\n".join(shown(place, result) for place, result in enumerate(results, start=1)) or "Nothing found."
        )


def opened_reranker(model: str, settings: Resolved) -> Reranker:
    from farthing.serving.reranker import Reranker

    source, engine = settings.group(SourceSettings), settings.group(EngineSettings)
    return Reranker.from_settings(model, source, engine, settings.group(ServingSettings))


def shown(place: int, result: SearchResult) -> str:
    """A result as a block of lines: number, title and score; where it is from; what it says."""
    passage = result.passage
    title = passage.title or passage.document
    where = " · ".join(dict.fromkeys(part for part in (passage.heading, passage.source) if part and part != title))
    head = f"{place:>3}. {click.style(title, bold=True)}  {click.style(scores(result), dim=True)}"
    lines = [head, click.style(where, dim=True) if where else "", marked(result.excerpt)]
    return "\n     ".join(line for line in lines if line)


def scores(result: SearchResult) -> str:
    parts = {"cosine": result.cosine, "words": result.bm25}
    details = ", ".join(f"{name} {value:.2f}" for name, value in parts.items() if value is not None)
    return f"{result.score:.3f} ({details})" if result.score not in parts.values() else details


def marked(excerpt: Excerpt) -> str:
    """The excerpt with its matching words bold on a terminal, between stars elsewhere."""
    pieces, end = [], 0
    for first, last in excerpt.marks:
        word = excerpt.text[first:last]
        pieces += [
            excerpt.text[end:first],
            click.style(word, bold=True, fg="yellow") if sys.stdout.isatty() else f"*{word}*",
        ]
        end = last
    text = "".join([*pieces, excerpt.text[end:]])
    return ("" if excerpt.is_start else "… ") + text + ("" if excerpt.is_end else " …")
