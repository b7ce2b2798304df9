"""A whole file of texts in memory, with their records and their vectors.

In: a file as `farthing embed` reads them; an encoder, or a file of vectors that `farthing embed` has made of it. Out:
texts, records and unit vectors, row by row. Files that must not be in memory as a whole are read with
`farthing.toolkit.records` instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from farthing.core.errors import InputError
from farthing.serving.request import EmbedRequest, InputType
from farthing.toolkit.encoder import RequestEncoder
from farthing.toolkit.records.placed import errors_placed
from farthing.toolkit.records.read_lines import Wanted
from farthing.toolkit.records.reader import open_reader
from farthing.toolkit.records.rows import Rows

# Rows that are read at once, and texts that are embedded between two moves of the progress bar.
ROWS_AT_A_TIME, TEXTS_AT_A_TIME = 8192, 1024


@dataclass(frozen=True)
class TextSet:
    """
    Attributes:
        source: name of the input in messages.
        field: of the records, that holds the text.
        texts: in the order of the input.
        rows: the same, with their records: all of `ROWS_AT_A_TIME` but the last.
    """

    source: str
    field: str
    texts: Sequence[str]
    rows: Sequence[Rows]

    def __len__(self) -> int:
        return len(self.texts)

    def place(self, index: int) -> str:
        """Where text `index` stands, for messages: "Line 3 of texts.jsonl"."""
        return self.rows[index // ROWS_AT_A_TIME].place(index % ROWS_AT_A_TIME)

    def json_objects(self, indices: Iterable[int] | None = None) -> Iterator[str]:
        """The records of these texts, or of all, each as a JSON object on one line."""
        if indices is None:
            return itertools.chain.from_iterable(rows.json_objects() for rows in self.rows)
        return self.chosen_json_objects(indices)

    def chosen_json_objects(self, indices: Iterable[int]) -> Iterator[str]:
        of_chunk: dict[int, list[str]] = {}
        for chunk, place in (divmod(int(index), ROWS_AT_A_TIME) for index in indices):
            if chunk not in of_chunk:
                of_chunk[chunk] = self.rows[chunk].json_objects()
            yield of_chunk[chunk][place]


@dataclass(frozen=True)
class TextVectors:
    """
    Attributes:
        table: of length 1, float32 [texts, dimensions]; zero for texts that were not asked for.
        unknown: bool [texts], whose vector says nothing, because the model knows none of their words.
    """

    table: np.ndarray
    unknown: np.ndarray


def read_text_set(name: str, given_format: str | None = None, field: str | None = None) -> TextSet:
    """
    Args:
        name: a path, or "-" for standard input.
        given_format: "txt", "jsonl", "csv" or "parquet"; None to go by the suffix.
        field: that holds the text; None for "text", or the only one.

    Raises what `open_reader` raises, and `InputError` for a row that cannot be read; the message names its line.
    """
    with closing(open_reader(name, given_format, Wanted(field, reserved=None))) as reader:
        rows = list(iter(lambda: reader.take(ROWS_AT_A_TIME), None))
        texts = list(itertools.chain.from_iterable(part.texts for part in rows))
        source = "standard input" if name == "-" else Path(name).name
        return TextSet(source, reader.field, texts, rows)


def embed_text_set(
    encoder: RequestEncoder,
    data: TextSet,
    *,
    indices: np.ndarray | None = None,
    input_type: InputType | None = None,
    show_progress: bool = False,
) -> TextVectors:
    """Of all texts, or only of those with these `indices`. Texts over the context are cut.

    Raises what `Encoder.encode` raises; an `InputError` names the text's place in the input.
    """
    wanted = np.arange(len(data)) if indices is None else indices
    found = TextVectors(np.zeros((len(data), encoder.dimensions), dtype=np.float32), np.zeros(len(data), dtype=bool))
    with tqdm(total=len(wanted), desc="Embedding", unit=" texts", disable=not show_progress, dynamic_ncols=True) as bar:
        for start in range(0, len(wanted), TEXTS_AT_A_TIME):
            part = wanted[start : start + TEXTS_AT_A_TIME]
            with errors_placed(lambda index, part=part: data.place(int(part[index]))):  # type: ignore[misc]
                texts = [data.texts[index] for index in part]
                result = encoder.encode_request(EmbedRequest(texts, input_type=input_type, truncate=True))
            found.table[part] = result.vectors
            found.unknown[part[list(result.unknown.texts)]] = True
            bar.update(len(part))
    return found


def read_vectors(path: Path, data: TextSet) -> np.ndarray:
    """The vectors of `data` in a .npy file: float32 [texts, dimensions], of length 1; of the file itself if it can be.

    Raises `InputError` when the file is not one of as many vectors as there are texts.
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
    if len(vectors) != len(data):
        raise InputError(
            f"{path} has {len(vectors):,} vectors; {data.source} has {len(data):,} texts. Give the file that was made "
            "of these texts.",
            param="vectors",
        )
    return unit(vectors, path)


def unit(vectors: np.ndarray, path: Path) -> np.ndarray:
    """`vectors` if all are of length 1, or a copy in which they are. Raises `InputError` for one without direction."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    wrong = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(wrong):
        raise InputError(f"Row {wrong[0] + 1} of {path} is not a vector: its length is {lengths[wrong[0]]}.")
    if np.abs(lengths - 1).max() < 1e-3:
        return np.asarray(vectors, dtype=np.float32)
    return np.asarray(vectors / lengths[:, None], dtype=np.float32)
