"""`farthing embed ... -o -`: prints vectors on standard output, one JSON object per line, as soon as they are computed.

In: an open input and a model. Out: each record with its embedding. Nothing is kept, so a run that was stopped starts
from the beginning.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import replace

import click

from farthing.cli.common.data_options import say_left_out
from farthing.core.errors import EmptyInputError
from farthing.serving.request import EmbedRequest
from farthing.toolkit.bulk.write_jsonl import embedding_field
from farthing.toolkit.encoder import Encoder, check_unchanged
from farthing.toolkit.records.fields import placed_error, with_fields
from farthing.toolkit.records.reader import Reader
from farthing.toolkit.records.rows import readable
from farthing.toolkit.records.skipped import Skipped

ROWS_AT_A_TIME = 256


def print_vectors(
    reader: Reader, request: EmbedRequest, load: Callable[[], AbstractContextManager[Encoder]], *, strict: bool
) -> None:
    """Embed and print all records. `request` is sent with their texts as its inputs.

    Records that cannot be embedded are left out, and listed at the end. Raises `InputError` when none can be embedded,
    or, if `strict`, for the first that cannot, after the records before it were printed.
    """
    skipped, num_printed, num_unknown = Skipped(strict), 0, 0
    with closing(reader), load() as encoder:
        space = encoder.space
        while (rows := reader.take(ROWS_AT_A_TIME)) is not None:
            texts, good, errors = rows.texts, readable(rows), dict(rows.errors)
            wanted = replace(request, inputs=[texts[index] for index in good], leaves_out=True)
            result = encoder.encode_request(wanted)
            check_unchanged(space, result.space)
            for index, error in result.errors.items():
                errors[good[index]] = placed_error(error, rows.place(good[index]))
            field = embedding_field(result.vectors.shape[1])
            records = rows.chosen(good).json_objects()
            found = dict(zip(good, zip(records, result.vectors, strict=True), strict=True))
            for index in range(len(rows)):
                if index in errors:
                    sys.stdout.flush()
                    skipped.add(errors[index])
                    continue
                record, vector = found[index]
                click.echo(with_fields(record, field % tuple(vector.tolist())))
                num_printed += 1
            sys.stdout.flush()
            num_unknown += len(result.unknown.texts)
    if not num_printed:
        raise EmptyInputError(f"No record can be embedded. {skipped.reasons[0]}", param="input")
    say_left_out(skipped)
    if num_unknown:
        click.echo(f"Texts of words that the model does not know: {num_unknown:,}, all with the same vector.", err=True)
