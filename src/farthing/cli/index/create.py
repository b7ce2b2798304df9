"""`farthing index create`: makes an empty index for the vectors of one model."""

from __future__ import annotations

import click

from farthing.cli.common.data_options import ENCODER_GROUPS, opened_encoder
from farthing.cli.common.options import SettingsCommand, settings_options
from farthing.core.resolve import Resolved


@click.command("create", cls=SettingsCommand, epilog="farthing index create ./help --model starter")
@click.argument("store")
@click.option("--model", help="Model that makes the vectors, as `farthing embed` takes it.  [required]")
@click.option(
    "--dimensions", type=click.IntRange(min=1), help="Length of the vectors that are kept [default: the model's]."
)
@click.option("--max-tokens", type=int, help="Most tokens of a passage [default: 384, or the model's context].")
@click.option("--overlap-tokens", type=int, help="Tokens that neighbouring passages share [default: an eighth].")
@settings_options(*ENCODER_GROUPS)
def create(
    store: str,
    model: str | None,
    dimensions: int | None,
    max_tokens: int | None,
    overlap_tokens: int | None,
    settings: Resolved,
) -> None:
    """Make an empty index in STORE, for vectors of one model.

    STORE is a new or an empty folder, or milvus:URI/NAME. URI is the address of a Milvus server
    (milvus:http://localhost:19530/help) or a path of Milvus Lite that ends in .db (milvus:./vectors.db/help), and NAME
    is the index's name there.
    """
    from farthing.toolkit.encoder import lasting_name
    from farthing.toolkit.index.index import VectorIndex, check_free
    from farthing.toolkit.stores.database import open_database

    if model is None:
        raise click.UsageError(
            "No model was given, and none is chosen for you: an index stays with its model, since vectors of two "
            f"cannot be compared.\nSmall, for English: farthing index create {store} --model starter\n"
            f"For 100 languages:  farthing index create {store} --model Qwen/Qwen3-Embedding-0.6B"
        )
    database = open_database(store)
    check_free(database)  # before a model is loaded
    with opened_encoder(lasting_name(model), settings) as encoder:
        index = VectorIndex.create(
            database, encoder, dimensions=dimensions, max_tokens=max_tokens, overlap_tokens=overlap_tokens
        )
    splitting = index.manifest.splitting
    click.echo(
        f"Made an index in {store}: vectors of {model}, {index.dimensions} dimensions; passages of at most "
        f"{splitting.max_tokens} tokens, {splitting.overlap_tokens} of them shared with the one before.\n"
        f"Add documents with: farthing index add {store} FILES..."
    )
