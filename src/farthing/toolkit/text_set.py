"""A whole file of texts in memory, with its records and its vectors.

In: a file of texts in a format that `farthing embed` reads; an encoder, or a file of vectors that `farthing embed` made
of it. Out: texts, records and unit vectors, row by row. Files that are too large for memory are read with
`farthing.toolkit.records` instead.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import field, replace
from pathlib import Path

import numpy as np

from farthing.core.deferred import dataclass
from farthing.core.errors import EmptyInputError, InputError
from farthing.core.progress import progress_bar
from farthing.serving.request import EmbedRequest, InputType, parts_of
from farthing.toolkit.encoder import Encoder, check_unchanged
from farthing.toolkit.records.fields import placed_error
from farthing.toolkit.records.lines import USUAL_LAYOUT, LineLayout
from farthing.toolkit.records.read_lines import Wanted
from farthing.toolkit.records.reader import open_reader, shown_name
from farthing.toolkit.records.rows import Rows, readable
from farthing.toolkit.records.skipped import STRICT, Skipped

# How many rows are read at once, and how many texts are embedded between two moves of the progress bar.
ROWS_AT_A_TIME, TEXTS_AT_A_TIME = 8192, 1024


@dataclass(frozen=True)
class TextSet:
    """
    Attributes:
        source: name of the input in messages.
        field: name of the records' field that holds the text.
        texts: the texts that could be read, in the order of the input.
        rows: the same texts, with their records.
        numbers: int64 [texts], the place of each text among all records of the input, from 0.
        num_records: the number of records in the input, including those that could not be read.
        layout: how the input is written.
    """

    source: str
    field: str
    texts: Sequence[str]
    rows: Sequence[Rows]
    numbers: np.ndarray
    num_records: int
    layout: LineLayout = USUAL_LAYOUT

    def __len__(self) -> int:
        return len(self.texts)

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """The index of the first text of each of `rows`, followed by the number of texts: int64 [rows + 1]."""
        starts: np.ndarray = np.cumsum([0, *map(len, self.rows)])
        return starts

    def place(self, index: int) -> str:
        """Where text `index` stands, for messages: "Line 3 of texts.jsonl"."""
        part, place = self._part(index)
        return self.rows[part].place(place)

    def _part(self, index: int) -> tuple[int, int]:
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        return part, int(index - self.starts[part])

    def json_objects(self, indices: Iterable[int] | None = None) -> Iterator[str]:
        """The records of the texts at these indices, or of all texts, each as a JSON object on one line."""
        if indices is None:
            return itertools.chain.from_iterable(rows.json_objects() for rows in self.rows)
        return self._chosen_json_objects(indices)

    def _chosen_json_objects(self, indices: Iterable[int]) -> Iterator[str]:
        of_part: dict[int, list[str]] = {}
        for part, place in map(self._part, indices):
            if part not in of_part:
                of_part[part] = self.rows[part].json_objects()
            yield of_part[part][place]

    def without(self, indices: Collection[int]) -> TextSet:
        """These texts without those at `indices`."""
        kept = np.setdiff1d(np.arange(len(self)), list(indices))
        bounds = np.searchsorted(kept, self.starts)
        parts = [
            rows.chosen((kept[start:stop] - first).tolist())
            for rows, first, start, stop in zip(self.rows, self.starts, bounds, bounds[1:], strict=False)
        ]
        texts = [self.texts[index] for index in kept]
        return replace(self, texts=texts, rows=parts, numbers=self.numbers[kept])


@dataclass(frozen=True)
class TextVectors:
    """
    Attributes:
        table: unit vectors, float32 [texts, dimensions]; zero for texts that were not asked for.
        unknown: bool [texts], true where the vector says nothing because the model knows none of the text's words.
        errors: by index, the error of each text that has no vector because it cannot be embedded; it names the text's
            place.
    """

    table: np.ndarray
    unknown: np.ndarray
    errors: Mapping[int, InputError] = field(default_factory=dict)

    @property
    def says_nothing(self) -> np.ndarray:
        """bool [texts], true for texts that cannot be told apart by their vectors."""
        found: np.ndarray = self.unknown.copy()
        found[list(self.errors)] = True
        return found


def read_text_set(
    name: str, given_format: str | None = None, field: str | None = None, skipped: Skipped = STRICT
) -> TextSet:
    """Read a whole file of texts into memory.

    Args:
        name: a path, or "-" for standard input.
        given_format: one of `reader.SUFFIXES`; None to go by the suffix.
        field: name of the field that holds the text; None for "text", or the only field.
        skipped: is told of records that cannot be read; by default the first of them is an error.

    Raises what `open_reader` raises, and `EmptyInputError` when no record can be read.
    """
    with closing(open_reader(name, given_format, Wanted(field, reserved=None))) as reader:
        parts: list[Rows] = []
        numbers: list[np.ndarray] = []
        num_records = 0
        for rows in iter(lambda: reader.take(ROWS_AT_A_TIME), None):
            for error in rows.errors.values():
                skipped.add(error)
            kept = readable(rows)
            parts.append(rows.chosen(kept) if rows.errors else rows)
            numbers.append(np.asarray(kept, dtype=np.int64) + num_records)
            num_records += len(rows)
        texts = list(itertools.chain.from_iterable(part.texts for part in parts))
        source = "standard input" if name == "-" else shown_name(name)
        if not texts:
            raise EmptyInputError(f"No record of {source} can be read. {skipped.reasons[0]}", param="input")
        return TextSet(source, reader.field, texts, parts, np.concatenate(numbers), num_records, reader.layout)


def embed_text_set(
    encoder: Encoder,
    data: TextSet,
    *,
    indices: np.ndarray | None = None,
    input_type: InputType | None = None,
    show_progress: bool = False,
) -> TextVectors:
    """Embed all texts, or only those at `indices`. Texts over the context are cut; a text that cannot be embedded has
    no vector.

    Raises what `Encoder.encode_request` raises, except errors of single texts, and `SpaceChangedError`.
    """
    space = encoder.space
    wanted = np.arange(len(data)) if indices is None else indices
    errors: dict[int, InputError] = {}
    table = np.zeros((len(data), encoder.dimensions), dtype=np.float32)
    found = TextVectors(table, np.zeros(len(data), dtype=bool), errors)
    with progress_bar(len(wanted), shown=show_progress, desc="Embedding", unit=" texts", dynamic_ncols=True) as bar:
        texts = [data.texts[int(index)] for index in wanted]
        request = EmbedRequest(texts, input_type=input_type, truncate=True, leaves_out=True)
        for number, asked in enumerate(parts_of(request, TEXTS_AT_A_TIME)):
            part = wanted[number * TEXTS_AT_A_TIME :][: len(asked.inputs)]
            result = encoder.encode_request(asked)
            check_unchanged(space, result.space)
            found.table[part] = result.vectors
            found.unknown[part[list(result.unknown.texts)]] = True
            for place, error in result.errors.items():
                index = int(part[place])
                errors[index] = placed_error(error, data.place(index))
            bar.update(len(part))
    return found


def read_vectors(path: Path, data: TextSet) -> TextVectors:
    """Read the vectors of `data` from a .npy file, without copying them if possible. A zero vector counts as no vector.

    Raises `InputError` when the file does not hold as many vectors as there are records.
    """
    try:
        vectors: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a .npy file of vectors: {error}", param="vectors") from error
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise InputError(
            f"{path} does not hold a table of numbers with a vector a row. Make it with: farthing embed MODEL "
            f"{data.source} -o {path.name}",
            param="vectors",
        )
    if len(vectors) != data.num_records:
        raise InputError(
            f"{path} has {len(vectors):,} vectors; {data.source} has {data.num_records:,} texts. Give the file that "
            "was made of these texts.",
            param="vectors",
        )
    return unit(vectors if len(data) == data.num_records else vectors[data.numbers], path, data)


def unit(vectors: np.ndarray, path: Path, data: TextSet) -> TextVectors:
    """`vectors` if all have length 1 or 0, or a copy in which they do. Raises `InputError` for a vector whose length is
    not finite, and when all vectors are zero."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    wrong = np.flatnonzero(~np.isfinite(lengths))
    if len(wrong):
        raise InputError(
            f"Row {data.numbers[wrong[0]] + 1} of {path} is not a vector: its length is {lengths[wrong[0]]}."
        )
    missing = np.flatnonzero(lengths == 0).tolist()
    errors = {
        index: InputError(f"{data.place(index)} has no vector: row {data.numbers[index] + 1} of {path} is zero.")
        for index in missing
    }
    if len(missing) == len(data):
        raise InputError(f"{path} holds no vector: all its rows are zero.", param="vectors")
    off = np.abs(lengths - 1) >= 1e-3
    off[missing] = False
    table = vectors if not off.any() else vectors / np.where(lengths, lengths, 1)[:, None]
    return TextVectors(np.asarray(table, dtype=np.float32), np.zeros(len(data), dtype=bool), errors)
