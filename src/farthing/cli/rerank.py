"""`farthing rerank`: orders the texts of a file by how well they answer a query.

In: a query, and a file as `farthing embed` reads it. Out: on standard output, rank, score and text, or JSON Lines.
"""

from __future__ import annotations

import json
from contextlib import closing

import click

from farthing.cli.common.data_options import ENCODER_GROUPS, STRICT, opened_reranker, say_left_out
from farthing.cli.common.options import SettingsCommand, settings_options
from farthing.core.resolve import Resolved
from farthing.core.settings import ServingSettings, UpstreamSettings
from farthing.toolkit.records.reader import INPUT_FORMATS
from farthing.toolkit.records.skipped import Skipped

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
@STRICT
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line: index, score, logit, text.")
@settings_options(*ENCODER_GROUPS)
def rerank(
    model: str,
    input: str,
    query: str,
    top_n: int | None,
    instruction: str | None,
    field: str | None,
    input_format: str | None,
    strict: bool,
    as_json: bool,
    settings: Resolved,
) -> None:
    """Order the texts of FILE by how well they answer a query, with the reranker MODEL.

    MODEL is a Qwen3-Reranker or a BERT-type cross-encoder with one label. FILE is a .txt file (a text on each line),
    .jsonl, .csv, .tsv, .parquet, or - for standard input. Texts longer than the context are cut.
    """
    skipped = Skipped(strict)
    serving = settings.group(ServingSettings)
    found = read_texts(input, input_format, field, serving, skipped)
    numbers, texts = list(found), list(found.values())
    with opened_reranker(model, settings, settings.group(UpstreamSettings)) as reranker:
        ranking = reranker.rank(query, texts, top_n=top_n, instruction=instruction)
    say_left_out(skipped)
    for place, ranked in enumerate(ranking, start=1):
        text = texts[ranked.index]
        if as_json:
            entry = {"index": numbers[ranked.index], "score": ranked.score, "logit": ranked.logit, "text": text}
            click.echo(json.dumps(entry, ensure_ascii=False))
        else:
            click.echo(f"{place:>4}  {ranked.score:.4f}  {text}")


def read_texts(
    name: str, given_format: str | None, field: str | None, serving: ServingSettings, skipped: Skipped
) -> dict[int, str]:
    """Return the texts of the input that can be ranked, by their place among all records.

    `skipped` is told of the others; if it is strict, the first of them raises `InputError`.
    """
    from farthing.core.errors import EmptyInputError, InputError
    from farthing.serving.text.clean import fit_text
    from farthing.toolkit.records.fields import placed_error
    from farthing.toolkit.records.read_lines import Wanted
    from farthing.toolkit.records.reader import open_reader

    texts: dict[int, str] = {}
    number = 0
    with closing(open_reader(name, given_format, Wanted(field, reserved=None))) as reader:
        for rows in iter(lambda: reader.take(ROWS_AT_A_TIME), None):
            for index, text in enumerate(rows.texts):
                try:
                    if index in rows.errors:
                        raise rows.errors[index]
                    fit_text(text, index, serving)
                except InputError as error:
                    skipped.add(error if index in rows.errors else placed_error(error, rows.place(index)))
                else:
                    texts[number + index] = text
            number += len(rows)
    if not texts:
        raise EmptyInputError(f"No text of {name} can be ranked. {skipped.reasons[0]}", param="input")
    return texts
