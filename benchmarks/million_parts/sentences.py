"""Real sentences with their vectors and words: what the rows of million_rows.py are put together of.

In: a folder of retrieval sets in the layout of BEIR, and a model. Out: one file with the sentences of each set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

# After a mark that ends a sentence; within code and lists after an empty line.
END = re.compile(r"(?<=[。！？!?])|(?<=\.)\s+|\n\s*\n")
MIN_CHARS, MAX_CHARS = 12, 400
MAX_PER_DOCUMENT = 3
PIECE_TEXTS = 256


@dataclass(frozen=True)
class Sentences:
    """
    Attributes:
        sets: number of the set that each is of, [sentences], ascending.
        vectors: of length 1, float32 [sentences, dimensions].
    """

    texts: list[str]
    words: list[str]
    sets: np.ndarray
    vectors: np.ndarray


def corpora(data: Path) -> list[Path]:
    return sorted(data.glob("*/corpus*.jsonl"))


def sentences_of(text: str) -> Iterator[str]:
    for part in END.split(text):
        stripped = part.strip()
        if len(stripped) >= MIN_CHARS:
            yield stripped[:MAX_CHARS]


def embed(data: Path, model: str, file: Path) -> None:
    """Writes the sentences of all sets under `data` to `file` (.npz)."""
    from farthing import Embedder
    from farthing.toolkit.index.words import Segmenter

    texts, sets = [], []
    for number, corpus in enumerate(corpora(data)):
        for line in corpus.read_text(encoding="utf-8").splitlines():
            found = list(islice(sentences_of(json.loads(line)["text"]), MAX_PER_DOCUMENT))
            texts += found
            sets += [number] * len(found)
    segmenter = Segmenter()
    words = [" ".join(segmenter.words(text)) for text in tqdm(texts, desc="words")]
    with Embedder(model, format="int8") as embedder:
        pieces = [
            embedder.encode(texts[start : start + PIECE_TEXTS], input_type="document", truncate=True)
            for start in tqdm(range(0, len(texts), PIECE_TEXTS), desc="vectors")
        ]
    np.savez(
        file,
        texts=np.array(json.dumps(texts)),
        words=np.array(json.dumps(words)),
        sets=sets,
        vectors=np.concatenate(pieces),
    )


def load(file: Path) -> Sentences:
    with np.load(file) as held:
        return Sentences(
            json.loads(str(held["texts"])), json.loads(str(held["words"])),
            held["sets"], held["vectors"],
        )  # fmt: skip
