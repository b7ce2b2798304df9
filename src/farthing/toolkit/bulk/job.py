"""The bulk job from end to end. Finished rows stay finished, however often the job is stopped.

In: the input, the output, a request, and a way to load the model. Out: the output file, either whole or not there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

from farthing.core.deferred import dataclass
from farthing.core.errors import InputError, SettingsError
from farthing.core.resolve import resolve
from farthing.core.settings import EngineSettings, ServingSettings, SourceSettings, UpstreamSettings
from farthing.core.space import VectorSpace
from farthing.serving.request import EmbedRequest
from farthing.toolkit.bulk.definition import JobDefinition
from farthing.toolkit.bulk.embedding import BulkPipeline, ChunkSize
from farthing.toolkit.bulk.folder import LEFT_OUT, PartialFolder
from farthing.toolkit.bulk.progress import Progress, counted
from farthing.toolkit.bulk.verify import skip_done
from farthing.toolkit.bulk.writer import check_output, open_writer, reserved_field
from farthing.toolkit.encoder import AsyncEncoder, open_encoder, unlimited
from farthing.toolkit.records.read_lines import Wanted
from farthing.toolkit.records.reader import Reader, format_of, open_reader

# A chunk's vectors and texts are held in memory, and larger chunks gain nothing.
LARGEST_CHUNK_ROWS = 8192
ASKED = ("prompt", "prompt_name", "instruction", "input_type", "dimensions", "normalize")


@dataclass(frozen=True)
class BulkJob:
    """
    Attributes:
        input: a path, or "-" for standard input.
        output: a path whose suffix decides the format.
        request: how the vectors are to be made; the job fills in its inputs.
        serving: settings that decide what happens to long and short texts, and how many texts are taken at once.
        field: the field to embed; None for "text", or the only one.
        input_format: "txt", "jsonl", "csv" or "parquet"; None to go by the suffix.
        chunk_rows: rows committed together; None to commit every few seconds.
        restart: discard the rows of an earlier run.
        overwrite: replace an output that exists.
        strict: the first row that cannot be read or embedded is an error; otherwise such rows are left out.
        show_progress: draw a bar on standard error.
        say: is given each sentence for the user; by default they are lost.
        reword: puts an error's message into the caller's terms before it is written down.
    """

    input: str
    output: Path
    request: EmbedRequest
    serving: ServingSettings
    field: str | None = None
    input_format: str | None = None
    chunk_rows: int | None = None
    restart: bool = False
    overwrite: bool = False
    strict: bool = False
    show_progress: bool = False
    say: Callable[[str], None] = lambda _: None
    reword: Callable[[str], str] = str


def embed_file(
    model: str,
    input: str | Path,
    output: str | Path,
    *,
    field: str | None = None,
    input_format: str | None = None,
    chunk_rows: int | None = None,
    restart: bool = False,
    overwrite: bool = False,
    strict: bool = False,
    show_progress: bool = False,
    say: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> None:
    """Embed the texts of a file, as `farthing embed` does. When it was stopped, the same call goes on.

    The arguments are those of `BulkJob`.

    Args:
        model: a local folder, a Hugging Face id, `modelscope:ID`, or what the server at `upstream` calls it.
        options: prompt, prompt_name, instruction, input_type, dimensions and normalize, as `Embedder.encode` takes
            them; and any of the settings in docs/settings.md that concern the model, engine, queue or upstream.

    Raises:
        ModelError: the model cannot be found or used.
        SettingsError: a setting is unknown or out of range.
        NoUpstreamError: no server was ready in time.

    It also raises what `run_job` raises.
    """
    request = EmbedRequest((), **{name: options.pop(name) for name in ASKED if name in options})
    settings = resolve((SourceSettings, EngineSettings, ServingSettings, UpstreamSettings), flags=options)
    serving = settings.group(ServingSettings)
    job = BulkJob(
        str(input),
        Path(output),
        request,
        serving,
        field=field,
        input_format=input_format,
        chunk_rows=chunk_rows,
        restart=restart,
        overwrite=overwrite,
        strict=strict,
        show_progress=show_progress,
        say=say,
    )

    def load() -> AbstractContextManager[AsyncEncoder]:
        source, engine = settings.group(SourceSettings), settings.group(EngineSettings)
        upstream = settings.group(UpstreamSettings)
        return closing(open_encoder(model, source, engine, unlimited(serving), upstream))

    run_job(job, load)


def run_job(job: BulkJob, load: Callable[[], AbstractContextManager[AsyncEncoder]]) -> None:
    """Do the rest of the job, and put the output in its place.

    Raises:
        SettingsError: the output exists, another process is writing it, or its folder holds rows of a different job.
        InputError: no row can be read and embedded, or one cannot and the job is strict, or the input has changed
            since the last run.
        SpaceChangedError: the encoder has changed its weights; what is done is kept.
        EngineError, ServingError: the computation failed; what is done is kept.
    """
    check_output(job.output)
    limit = chunk_limit(job)
    wanted = Wanted(job.field, reserved_field(job.output))
    with (
        closing(open_reader(job.input, job.input_format, wanted)) as reader,
        PartialFolder(job.output, job.reword) as folder,
    ):
        is_finished = not job.restart and folder.is_published
        if not is_finished:
            check_free(job)
        with load() as encoder:
            space = encoder.space
            definition = define(job, encoder, space, reader.field)
            if is_finished and not folder.differences(definition):
                job.say(f"{job.output} was finished by an earlier run.")
                return
            if is_finished or job.restart:
                check_free(job)
                folder.discard()
            folder.begin(definition)
            embed_rest(job, encoder, space, reader, folder, ChunkSize(job.chunk_rows, limit))


def embed_rest(
    job: BulkJob,
    encoder: AsyncEncoder,
    space: VectorSpace,
    reader: Reader,
    folder: PartialFolder,
    chunk_size: ChunkSize,
) -> None:
    done = folder.chunks()
    writer = open_writer(job.output, metadata(job.request, encoder, space), [chunk.data for chunk in done])
    skip_done(reader, folder)
    if done:
        job.say(f"Going on after {counted(folder.num_rows, 'row')}.")
    try:
        with closing(Progress(folder.num_rows, shown=job.show_progress, say=job.say)) as progress:
            pipeline = BulkPipeline(
                encoder, space, job.request, reader, writer, folder, chunk_size, progress, strict=job.strict
            )
            asyncio.run(pipeline.run())
        check_any(job, folder)
        folder.publish(lambda path: writer.assemble([chunk.data for chunk in folder.chunks()], path))
    except BaseException:
        say_what_is_kept(job, folder)
        raise
    num_lost = sum(1 for _ in folder.lost())
    num_rows = folder.num_rows if job.output.suffix == ".npy" else folder.num_rows - num_lost
    job.say(f"Wrote {job.output}: {counted(num_rows, 'row')}.")
    if num_lost:
        what = "They have rows of zeros" if job.output.suffix == ".npy" else "They are left out"
        job.say(
            f"No vector for {counted(num_lost, 'record')}. {what}; the reasons are in {folder.left_out}, the first: "
            f"{first_reason(folder)}",
        )


def check_any(job: BulkJob, folder: PartialFolder) -> None:
    """Raise `InputError`, and discard all rows, when none of them has a vector."""
    num_rows = folder.num_rows
    if num_rows and sum(1 for _ in folder.lost()) == num_rows:
        reason = first_reason(folder)
        folder.discard()
        raise InputError(f"No record of {job.input} can be embedded. The first: {reason}", param="input")


def first_reason(folder: PartialFolder) -> str:
    return str(json.loads(next(folder.lost()))["reason"])


def say_what_is_kept(job: BulkJob, folder: PartialFolder) -> None:
    if folder.num_rows:
        without = " without --restart" if job.restart else ""
        job.say(
            f"What is done is kept in {folder.path} ({counted(folder.num_rows, 'row')}). "
            f"Give the same command{without} to go on.",
        )


def check_free(job: BulkJob) -> None:
    """Raise `SettingsError` when the output or its list of left-out rows exists and may not be replaced."""
    for path in (job.output, job.output.with_name(job.output.name + LEFT_OUT)):
        if path.exists() and not job.overwrite:
            raise SettingsError(
                f"The output {path} exists already. Choose another, or give --overwrite to replace it.",
                param="output",
            )


def chunk_limit(job: BulkJob) -> int:
    """Return the largest number of rows in a chunk. Raises `SettingsError` when the job asks for more."""
    limit = min(job.serving.max_texts_per_request, max(1, job.serving.max_queue_texts // 2))
    if job.chunk_rows and job.chunk_rows > limit:
        raise SettingsError(
            f"--chunk-rows is {job.chunk_rows}; at most {limit} are possible with max_texts_per_request "
            f"{job.serving.max_texts_per_request} and max_queue_texts {job.serving.max_queue_texts}.",
            param="chunk_rows",
        )
    return min(limit, LARGEST_CHUNK_ROWS)


def define(job: BulkJob, encoder: AsyncEncoder, space: VectorSpace, field: str) -> JobDefinition:
    request, serving = job.request, job.serving
    return JobDefinition(
        model=encoder.model,
        space=space.id,
        prompt=request.prompt,
        prompt_name=request.prompt_name,
        instruction=request.instruction,
        input_type=request.input_type,
        dimensions=request.dimensions or encoder.dimensions,
        normalize=request.normalize,
        truncate=serving.truncate,
        context_length=encoder.context_length,
        short_text=serving.short_text,
        min_chars=serving.min_chars,
        input_format=format_of(job.input, job.input_format),
        field=field,
        strict=job.strict,
    )


def metadata(request: EmbedRequest, encoder: AsyncEncoder, space: VectorSpace) -> dict[str, str]:
    """Return the facts about the vectors that go into the output, where its format has a place for them."""
    dimensions = request.dimensions or encoder.dimensions
    made = space.of_vectors(dimensions, normalized=request.normalize)
    return {"farthing.model": encoder.model, "farthing.space": made.id}
