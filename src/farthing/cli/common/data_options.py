"""Options and encoders of the commands that work on whole files of texts or on an index, such as `cluster` and `dedup`.

In: what was given on the command line. Out: an open encoder, or the vectors of a `TextSet`, made by a model or read
from a file.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from farthing.cli.common.flags import in_flags
from farthing.cli.common.loading import say_rounded
from farthing.core.errors import EngineError, FarthingError, SettingsError
from farthing.core.progress import progress_bars
from farthing.core.resolve import Resolved
from farthing.core.settings import (
    QUANTISED_FORMATS,
    EngineSettings,
    ServingSettings,
    SourceSettings,
    UpstreamSettings,
)
from farthing.core.space import ELSEWHERE
from farthing.toolkit.encoder import AsyncEncoder, RankingModel, open_encoder, open_reranker, unlimited
from farthing.toolkit.records.reader import INPUT_FORMATS
from farthing.toolkit.records.skipped import Skipped

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from farthing.toolkit.index.manifest import IndexManifest
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
# Memory that a command needs beside its model: with texts and vectors in flight, with an index that it searches, and
# with an index that it fills (LanceDB, and a process that splits documents). Measured by
# `python benchmarks/job_memory.py MODEL`.
TEXTS_BYTES, SEARCH_BYTES, ADD_BYTES = 48 * 2**20, 96 * 2**20, 160 * 2**20
WAITING_BYTES = 48 * 2**20  # Python, numpy and this program, in a process that waits for the process with the model


def left_out_lines(skipped: Skipped, what: str = "Left out") -> list[str]:
    """Return lines with the first records that were left out, the reasons, and how many there are."""
    lines = [f"{what}: {in_flags(reason)}" for reason in skipped.reasons[:MOST_LISTED]]
    if skipped.num > len(lines):
        lines.append(f"{what}: {skipped.num - len(lines):,} more, {skipped.num:,} in all.")
    return lines


def say_left_out(skipped: Skipped, what: str = "Left out") -> None:
    """Print the lines of `left_out_lines` on standard error."""
    for line in left_out_lines(skipped, what):
        click.echo(line, err=True)


def progress_shown(progress: bool | None) -> bool:
    """Whether progress bars are drawn: as asked for, or by default on a terminal."""
    return sys.stderr.isatty() if progress is None else progress


@contextmanager
def opened_encoder(
    model: str, settings: Resolved, others_bytes: int = TEXTS_BYTES, *, progress: bool | None = None
) -> Iterator[AsyncEncoder]:
    """Open the encoder of a command's settings (`ENCODER_GROUPS`), and close it afterwards.

    `others_bytes` of a memory budget are left for what the command itself holds; `progress` says whether a bar is drawn
    while it loads (`progress_bars`). Raises the errors of `open_encoder`.
    """
    serving = unlimited(settings.group(ServingSettings))
    source, engine = settings.group(SourceSettings), settings.group(EngineSettings)
    with progress_bars(shown=progress) as on_step:
        upstream = settings.group(UpstreamSettings)
        opened = open_encoder(model, source, engine, serving, upstream, on_step, others_bytes)
    with closing(opened) as encoder:
        say_rounded(getattr(opened, "plan", None))  # a model on another server has no plan
        yield encoder


@contextmanager
def opened_reranker(model: str, settings: Resolved, upstream: UpstreamSettings) -> Iterator[RankingModel]:
    """Open the reranker of a command's settings, here or at the server that `upstream` names, and close it afterwards.

    Raises the errors of `open_reranker`.
    """
    source, engine = settings.group(SourceSettings), settings.group(EngineSettings)
    with progress_bars() as on_step:
        opened = open_reranker(model, source, engine, settings.group(ServingSettings), upstream, on_step)
    with closing(opened) as reranker:
        say_rounded(getattr(opened, "plan", None))
        yield reranker


@contextmanager
def index_encoder(
    manifest: IndexManifest, model: str | None, settings: Resolved, others_bytes: int
) -> Iterator[AsyncEncoder]:
    """As `opened_encoder`, for the model of an index.

    The weight format is that of the index's vectors unless a flag gives another. If another server makes the vectors,
    it gets the prompts of the index's model.

    Args:
        model: another name of the index's model, where one is given.

    Also raises `SettingsError` where another server made the index's vectors and no server is named.
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
    """Return the vectors of `data`, made by `model` or read from the file `vectors`.

    Args:
        is_apart: run the model in a process of its own, so that memory it does not give back ends with that process.
        others_bytes: as in `opened_encoder`.

    Raises `click.UsageError` unless exactly one of `model` and `vectors` is given, and the errors of the way taken.
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
    """As `vectors_of` with a model, in a process of its own. Also raises `EngineError` when the process is killed."""
    import multiprocessing

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
        process.kill()  # it would go on working after this process was interrupted
        raise
    finally:
        process.join()
    if isinstance(found, Exception):
        raise found
    made: TextVectors = found
    return made


def make_in_child(pipe: Connection, data: TextSet, model: str, settings: Resolved, show_progress: bool) -> None:
    from tqdm import tqdm

    from farthing.upstream.child_engine.guard import end_with_parent

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the parent too, which ends this process
    end_with_parent()
    tqdm.set_lock(threading.RLock())  # tqdm's own lock is a system-wide semaphore, which a killed process leaves behind
    try:
        others_bytes = 2 * TEXTS_BYTES + WAITING_BYTES  # the texts are in both processes
        pipe.send(vectors_of(data, model, None, settings, show_progress=show_progress, others_bytes=others_bytes))
    except (FarthingError, OSError) as error:
        pipe.send(error)
