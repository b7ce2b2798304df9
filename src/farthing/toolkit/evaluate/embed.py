"""Makes the vectors of labelled sets, takes the time, and keeps them in a folder for the next run if one is given.

In: an encoder and sets. Out: full vectors of each set with each instruction. A part that several sets share (such as a
corpus with queries in several languages) is embedded once. Kept vectors are looked up by everything that determines
them: the encoder's space and context, the input type, the instruction, and the texts.
"""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from farthing.core.deferred import dataclass
from farthing.core.errors import InputError
from farthing.core.files import write_atomically
from farthing.core.space import VectorSpace
from farthing.serving.request import EmbedRequest, EmbedResult
from farthing.toolkit.encoder import Encoder, check_unchanged
from farthing.toolkit.evaluate.sets.find import LabelledSet
from farthing.toolkit.evaluate.sets.records import SetPart
from farthing.toolkit.records.fields import placed_error
from farthing.toolkit.records.skipped import STRICT, Skipped

# Texts that are embedded at a time and kept in one file.
PIECE_TEXTS = 1024
# Texts that are embedded one by one, to measure the time of a single text.
TIMED_TEXTS = 20


@dataclass(frozen=True)
class Vectors:
    """The vectors of one part of a set.

    Attributes:
        rows: full vectors of length 1, float32 [texts, dimensions].
        seconds: how long embedding them took, when they were made.
        num_kept: number of texts whose vectors and seconds come from an earlier run.
    """

    rows: np.ndarray
    seconds: float
    num_kept: int


@dataclass(frozen=True)
class Embedded:
    """A set's vectors for one instruction.

    Attributes:
        parts: by name, as in `LabelledSet.parts`.
        one_text_ms: median time to embed one of the set's texts alone (in a retrieval set, a query).
    """

    data: LabelledSet
    instruction: str | None
    parts: Mapping[str, Vectors]
    one_text_ms: float

    @property
    def num_texts(self) -> int:
        return sum(len(part.rows) for part in self.parts.values())

    @property
    def num_kept(self) -> int:
        return sum(part.num_kept for part in self.parts.values())

    @property
    def texts_per_s(self) -> float:
        return self.num_texts / sum(part.seconds for part in self.parts.values())


def embed_sets(
    encoder: Encoder,
    sets: Sequence[LabelledSet],
    instructions: Sequence[str | None] = (None,),
    *,
    keep: Path | None = None,
    show_progress: bool = False,
    skipped: Skipped = STRICT,
) -> list[Embedded]:
    """Embed every set with every instruction.

    Args:
        instructions: tasks in words, put before all texts but documents; None for the model's own prompts.
        keep: a folder for vectors, made if it does not exist; vectors that it holds already are not made again.
        skipped: is told of texts that cannot be embedded, whose vectors are zero; by default the first of them is an
            error.

    Raises the errors of `Encoder.encode_request`; an `InputError` names the text's place. Raises `SpaceChangedError`
    when the model changes its weights meanwhile.
    """
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    done: dict[tuple[SetPart, str | None], Vectors] = {}
    space = encoder.space
    found = []
    for instruction in instructions:
        for data in sets:
            one_text_ms = time_of_one_ms(encoder, asked_part(data), instruction)
            for part in data.parts.values():
                key = (part, instruction_for(part, instruction))
                if key not in done:
                    description = f"Embedding {data.name}" if show_progress else None
                    done[key] = embed_part(encoder, space, *key, keep, description, skipped)
            vectors = {name: done[part, instruction_for(part, instruction)] for name, part in data.parts.items()}
            found.append(Embedded(data, instruction, vectors, one_text_ms))
    return found


def asked_part(data: LabelledSet) -> SetPart:
    return next(part for part in data.parts.values() if part.input_type != "document")


def instruction_for(part: SetPart, instruction: str | None) -> str | None:
    return None if part.input_type == "document" else instruction


def embed_part(
    encoder: Encoder,
    space: VectorSpace,
    part: SetPart,
    instruction: str | None,
    keep: Path | None,
    description: str | None,
    skipped: Skipped,
) -> Vectors:
    """Embed one part. Texts longer than the context are cut. `description` labels the progress bar; None draws none."""
    rows = np.empty((len(part), encoder.dimensions), dtype=np.float32)
    seconds, num_kept = 0.0, 0
    with tqdm(total=len(part), desc=description, unit=" texts", disable=description is None, dynamic_ncols=True) as bar:
        for start in range(0, len(part), PIECE_TEXTS):
            texts = part.texts[start : start + PIECE_TEXTS]
            file = keep and keep / f"{key_of(space, encoder.context_length, part, instruction, texts)}.npz"
            if file and file.is_file():
                piece, taken = read_kept(file)
                num_kept += len(texts)
            else:
                result, taken = timed(encoder, part, instruction, texts)
                check_unchanged(space, result.space)
                piece = result.vectors
                for index, error in result.errors.items():
                    skipped.add(placed_error(error, part.place(start + index)))
                if file and not result.errors:  # the file has no place for errors
                    write_kept(file, piece, taken)
            rows[start : start + len(texts)] = piece
            seconds += taken
            bar.update(len(texts))
    return Vectors(rows, seconds, num_kept)


def timed(encoder: Encoder, part: SetPart, instruction: str | None, texts: Sequence[str]) -> tuple[EmbedResult, float]:
    started = time.perf_counter()
    request = EmbedRequest(texts, instruction=instruction, input_type=part.input_type, truncate=True, leaves_out=True)
    result = encoder.encode_request(request)
    return result, time.perf_counter() - started


def time_of_one_ms(encoder: Encoder, part: SetPart, instruction: str | None) -> float:
    """Return the median time of single texts. A first text is not counted, since its time includes loading."""
    texts = [part.texts[0], *part.texts[:TIMED_TEXTS]]
    times = [timed(encoder, part, instruction, [text])[1] for text in texts]
    return float(np.median(times[1:])) * 1e3


def key_of(
    space: VectorSpace, context_length: int, part: SetPart, instruction: str | None, texts: Sequence[str]
) -> str:
    fixed = [space.id, context_length, part.input_type, instruction, list(texts)]
    return hashlib.sha256(json.dumps(fixed).encode()).hexdigest()[:32]


def read_kept(file: Path) -> tuple[np.ndarray, float]:
    """Return the vectors of a kept file and their seconds. Raises `InputError` for a file not made by `write_kept`."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            return kept["vectors"], float(kept["seconds"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} does not hold kept vectors: {error}. Delete it.", param="keep") from error


def write_kept(file: Path, vectors: np.ndarray, seconds: float) -> None:
    """Write the file in one step, so that a run that is killed leaves no half-written file under this name."""

    def save(path: Path) -> None:
        with path.open("wb") as stream:  # given a name, numpy would add a suffix
            np.savez(stream, vectors=vectors, seconds=seconds)

    write_atomically(file, save)
