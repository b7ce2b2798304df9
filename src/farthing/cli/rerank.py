"""`farthing rerank`: the texts of a file in order of how well they answer a query.

In: a query, and a file as `farthing embed` reads them. Out: on standard output, rank, score and text, or JSON Lines.
"""

from __future__ import annotations

import itertools
import json
from contextlib import closing

import click

from farthing.cli.loading import loading, say_rounded
from farthing.cli.options import SettingsCommand, settings_options
from farthing.core.resolve import Resolved
from farthing.core.settings import EngineSettings, ServingSettings, SourceSettings
from farthing.toolkit.records.reader import INPUT_FORMATS

ROWS_AT_A_TIME = 8192


@click.command(
    "rerank",
    cls=SettingsCommand,
    epilog='farthing rerank Qwen/Qwen3-Reranker-0.6B --query "how tall is the tower?" passages.txt --top-n 5',
)
@click.argument("model")
@click.argument("input", metavar="FILE")
@click.option("--query", required=True, help="What the texts are to answer.")
@click.option("--top-n", type=click.IntRange(min=1), help="How many texts to show [default: all].")
@click.option("--instruction", help="The task in words, for models that take one [default: the model's own].")
@click.option("--field", help="Field that holds the text [default: text, or the only one].")
@click.option(
    "--input-format", type=click.Choice(INPUT_FORMATS), help="Format of FILE [default: by its suffix; txt for -]."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line: index, score, logit, text.")
@settings_options(SourceSettings, EngineSettings, ServingSettings)
def rerank(
    model: str,
    input: str,
    query: str,
    top_n: int | None,
    instruction: str | None,
    field: str | None,
    input_format: str | None,
    as_json: bool,
    settings: Resolved,
) -> None:
    """Order the texts of FILE by how well they answer a query, with the reranker MODEL.

    MODEL is a Qwen3-Reranker or a BERT-type cross-encoder with one label. FILE is a .txt file (a text a line), .jsonl,
    .csv, .parquet, or - for standard input. Texts longer than the context are cut.
    """
    # Imported here, so that the help comes without loading torch.
    from farthing.serving.reranker import Reranker

    texts = read_texts(input, input_format, field)
    source, engine = settings.group(SourceSettings), settings.group(EngineSettings)
    with loading(model) as on_layer:
        opened = Reranker.from_settings(model, source, engine, settings.group(ServingSettings), on_layer=on_layer)
    say_rounded(opened.plan)
    with opened as reranker:
        ranking = reranker.rank(query, texts, top_n=top_n, instruction=instruction)
    for place, ranked in enumerate(ranking, start=1):
        text = texts[ranked.index]
        if as_json:
            entry = {"index": ranked.index, "score": ranked.score, "logit": ranked.logit, "text": text}
            click.echo(json.dumps(entry, ensure_ascii=False))
        else:
            click.echo(f"{place:>4}  {ranked.score:.4f}  {text}")


def read_texts(name: str, given_format: str | None, field: str | None) -> list[str]:
    """All texts of the input. Raises `InputError` for what cannot be read."""
    from farthing.toolkit.records.read_lines import Wanted
    from farthing.toolkit.records.reader import open_reader

    with closing(open_reader(name, given_format, Wanted(field, reserved=None))) as reader:
        taken = iter(lambda: reader.take(ROWS_AT_A_TIME), None)
        return list(itertools.chain.from_iterable(rows.texts for rows in taken))
