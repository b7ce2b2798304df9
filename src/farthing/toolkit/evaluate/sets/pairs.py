"""Pairs of texts with a score of how similar they are: `s1`, `s2` and `score`, or the names that other sets use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from farthing.core.deferred import dataclass
from farthing.toolkit.evaluate.sets.records import (
    SetPart,
    Wanted,
    first_fields,
    json_lines_files,
    number_of,
    read_records,
    text_of,
)

LOOKED_FOR = "similarity: .jsonl files with s1, s2 (or sentence1, sentence2; text1, text2) and score"
SIDES = (("s1", "s2"), ("sentence1", "sentence2"), ("text1", "text2"))


@dataclass(frozen=True)
class PairSet:
    """`scores[i]` says how similar `first.texts[i]` and `second.texts[i]` are, on any scale."""

    name: str
    files: tuple[str, ...]
    first: SetPart
    second: SetPart
    scores: Sequence[float]
    kind = "similarity"

    @property
    def parts(self) -> dict[str, SetPart]:
        return {"first": self.first, "second": self.second}

    @property
    def size(self) -> str:
        return f"{len(self.first):,} pairs"


def recognises(folder: Path) -> bool:
    return any(sides_of(path) for path in json_lines_files(folder))


def read(folder: Path, wanted: Wanted) -> list[PairSet]:
    """Read a set from each file. Raises the errors of `read_records`."""
    found = [path for path in json_lines_files(folder) if sides_of(path)]
    names = [folder.name if len(found) == 1 else f"{folder.name} {path.stem}" for path in found]
    return [read_pairs(path, name, wanted) for path, name in zip(found, names, strict=True)]


def read_pairs(path: Path, name: str, wanted: Wanted) -> PairSet:
    sides = sides_of(path)
    assert sides is not None
    records = read_records(path, wanted.skipped, {**dict.fromkeys(sides, text_of), "score": number_of})
    first, second = map(records.part, sides)
    return PairSet(name, (records.source,), first, second, records.numbers("score"))


def sides_of(path: Path) -> tuple[str, str] | None:
    fields = first_fields(path)
    return next((sides for sides in SIDES if {*sides, "score"} <= fields), None)
