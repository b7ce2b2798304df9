"""`farthing embed ... -o -`: vectors on standard output, a JSON object a line, as soon as they are computed.

In: an open input and a model. Out: each record with its embedding. Nothing is kept, so a run that was stopped begins
anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import click

from farthing.serving.embedder import Embedder
from farthing.serving.request import EmbedRequest
from farthing.toolkit.records.fields import EMBEDDING_FIELD
from farthing.toolkit.records.placed import errors_placed
from farthing.toolkit.records.reader import Reader

ROWS_AT_A_TIME = 256
NUMBER = "%.9g"  # nine significant digits bring every float32 back exactly


def print_vectors(reader: Reader, request: EmbedRequest, load: Callable[[], Embedder]) -> None:
    """`request` is sent with the texts as its inputs. Raises `InputError` for a row that cannot be embedded."""
    num_unknown = 0
    with closing(reader), load() as embedder:
        while (rows := reader.take(ROWS_AT_A_TIME)) is not None:
            with errors_placed(rows.place):
                result = embedder.encode_request(replace(request, inputs=rows.texts))
            embedding = f', "{EMBEDDING_FIELD}": [{", ".join([NUMBER] * result.vectors.shape[1])}]}}'
            for record, vector in zip(rows.json_objects(), result.vectors, strict=True):
                click.echo(record.removesuffix("}").rstrip() + embedding % tuple(vector.tolist()))
            sys.stdout.flush()
            num_unknown += len(result.unknown.texts)
    if num_unknown:
        click.echo(f"Texts of words that the model does not know: {num_unknown:,}, all with the same vector.", err=True)
