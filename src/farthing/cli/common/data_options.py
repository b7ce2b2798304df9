"""Options of the commands that take a whole file of texts and their vectors: `cluster`, `dedup`.

In: what was given on the command line. Out: a `TextSet` and its vectors, made by a model or read from a file.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from farthing.cli.common.flags import in_flags
from farthing.cli.common.loading import loading, say_rounded
from farthing.core.errors import EngineError, FarthingError, SettingsError
from farthing.core.resolve import Resolved
from farthing.core.settings import (
    QUANTISED_FORMATS,
    EngineSettings,
    ServingSettings,
    SourceSettings,
    UpstreamSettings,
)
from farthing.core.space import ELSEWHERE
from farthing.toolkit.encoder import RequestEncoder, open_encoder
from farthing.toolkit.records.reader import INPUT_FORMATS
from farthing.toolkit.records.skipped import Skipped
from farthing.upstream.child_engine.guard import end_with_parent

if TYPE_CHECKING:
    from farthing.toolkit.index.manifest import Manifest
    from farthing.toolkit.text_set import TextSet, TextVectors

Command = Callable[..., Any]

ENCODER_GROUPS = (SourceSettings, EngineSettings, ServingSettings, UpstreamSettings)

FIELD = click.option("--field", help="Field that holds the text [default: text, or the only one].")
INPUT_FORMAT = click.option(
    "--input-format", type=click.Choice(INPUT_FORMATS), help="Format of the input [default: by its suffix; txt for -]."
)
MODEL = click.option("--model", help="Model that makes the vectors, as `farthing embed` takes it.")
VECTORS = click.option(
    "--vectors",
    type=click.Path(path_type=Path),
    help="Vectors that are made already, instead of --model: the .npy file that `farthing embed` wrote.",
)
PROGRESS = click.option("--progress/--no-progress", default=None, help="Draw progress bars [default: on a terminal].")


STRICT = click.option(
    "--strict", is_flag=True, help="End at the first record or file that cannot be used [default: leave it out]."
)
MOST_LISTED = 10
# What a command holds beside its model, with texts and vectors on their way; with an index that is searched, or filled
# (LanceDB, and a process that splits documents): `python benchmarks/job_memory.py MODEL`.
TEXTS_BYTES, SEARCH_BYTES, ADD_BYTES = 48 * 2**20, 96 * 2**20, 160 * 2**20
WAITING_BYTES = 48 * 2**20  # of a process that waits for another one with the model: Python, numpy and this program


def left_out_lines(skipped: Skipped, what: str = "Left out") -> list[str]:
    """The first records that were left out, with the reasons, and how many there are."""
    lines = [f"{what}: {in_flags(reason)}" for reason in skipped.reasons[:MOST_LISTED]]
    if skipped.num > len(lines):
        lines.append(f"{what}: {skipped.num - len(lines):,} more, {skipped.num:,} in all.")
    return lines


def say_left_out(skipped: Skipped, what: str = "Left out") -> None:
    """On standard error."""
    for line in left_out_lines(skipped, what):
        click.echo(line, err=True)


def progress_shown(progress: bool | None) -> bool:
    """Whether bars are drawn: as asked, or on a terminal."""
    return sys.stderr.isatty() if progress is None else progress


@contextmanager
def opened_encoder(model: str, settings: Resolved, others_bytes: int = TEXTS_BYTES) -> Iterator[RequestEncoder]:
    """The encoder of a command's settings (`ENCODER_GROUPS`), closed afterwards. Raises what `open_encoder` raises.

    `others_bytes` of a budget are left for what the command itself holds.
    """
    # The command's own texts are no crowd: none of them may be refused for how many are waiting.
    serving = replace(settings.group(ServingSettings), max_queue_tokens=sys.maxsize, max_queue_ms=None)
    source, engine = settings.group(SourceSettings), settings.group(EngineSettings)
    with loading(model) as on_layer:
        upstream = settings.group(UpstreamSettings)
        opened = open_encoder(model, source, engine, serving, upstream, on_layer, others_bytes)
    with closing(opened) as encoder:
        say_rounded(getattr(opened, "plan", None))  # not of a model on another server
        yield encoder


@contextmanager
def index_encoder(
    manifest: Manifest, model: str | None, settings: Resolved, others_bytes: int
) -> Iterator[RequestEncoder]:
    """As `opened_encoder`, in the format of an index's vectors where no flag says another, and with the prompts of its
    model where a server makes them.

    Args:
        model: another name of the index's model, where one is given.

    Raises `SettingsError` too, where another server made the vectors and none is named.
    """
    from farthing.toolkit.index.manifest import own_model_told

    space, upstream = manifest.space, settings.group(UpstreamSettings)
    wanted, remedy = model, "--model says where it is now"
    if space.pooling == ELSEWHERE and not upstream.is_used:
        raise SettingsError(
            f"The vectors of this index were made by another server, as {model or manifest.model}. Name that server "
            "with --upstream URL.",
            param="upstream",
        )
    if upstream.is_used:
        if space.pooling != ELSEWHERE and upstream.upstream_prompts is None:
            settings = settings.with_values({"upstream_prompts": manifest.model}, "index")
            wanted, remedy = None, "--upstream-prompts says where its configuration is, which has its prompts"
    elif space.format in ("none", *QUANTISED_FORMATS) and settings.origins.get("format") != "flag":
        settings = settings.with_values({"format": space.format}, "index")
    with ExitStack() as stack:
        with own_model_told(manifest, wanted, remedy):
            encoder = stack.enter_context(opened_encoder(model or manifest.model, settings, others_bytes))
        yield encoder


def vectors_of(
    data: TextSet,
    model: str | None,
    vectors: Path | None,
    settings: Resolved,
    *,
    show_progress: bool,
    is_apart: bool = False,
    others_bytes: int = TEXTS_BYTES,
) -> TextVectors:
    """
    Args:
        is_apart: the model runs in a process of its own, and what it leaves in a process is gone with that.
        others_bytes: as in `opened_encoder`.

    Raises `click.UsageError` unless exactly one of `model` and `vectors` is given; else what either way raises.
    """
    from farthing.toolkit.text_set import embed_text_set, read_vectors

    if (model is None) == (vectors is None):
        raise click.UsageError("Give either --model, to make the vectors, or --vectors, a .npy file of them.")
    if vectors is not None:
        return read_vectors(vectors, data)
    assert model is not None
    if is_apart:
        return made_apart(data, model, settings, show_progress=show_progress)
    with opened_encoder(model, settings, others_bytes) as encoder:
        return embed_text_set(encoder, data, show_progress=show_progress)


def made_apart(data: TextSet, model: str, settings: Resolved, *, show_progress: bool) -> TextVectors:
    """As `vectors_of` with a model. Raises the same, and `EngineError` when the process is killed."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=make_in_child, args=(theirs, data, model, settings, show_progress))
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        process.join()
        raise EngineError(
            f"The process that makes the vectors ended with exit code {process.exitcode} before it was done: it may "
            "have been killed for its memory. Make them with `farthing embed`, which goes on where it was stopped, and "
            "give them as --vectors."
        ) from None
    except BaseException:
        process.kill()  # it is still at work where this process is interrupted
        raise
    finally:
        process.join()
    if isinstance(found, Exception):
        raise found
    made: TextVectors = found
    return made


def make_in_child(pipe: Connection, data: TextSet, model: str, settings: Resolved, show_progress: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the parent is told too, and ends this one
    end_with_parent()
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of several processes, left behind where this one is ended
    try:
        others_bytes = 2 * TEXTS_BYTES + WAITING_BYTES  # the texts are in both processes
        pipe.send(vectors_of(data, model, None, settings, show_progress=show_progress, others_bytes=others_bytes))
    except (FarthingError, OSError) as error:
        pipe.send(error)
