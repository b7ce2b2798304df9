"""Translations: a file for each pair of languages (`cmn-eng.jsonl`).

Each record has a sentence in both languages, `src` and `tgt`.
"""

from __future__ import annotations

from pathlib import Path

from farthing.core.deferred import dataclass
from farthing.toolkit.evaluate.sets.records import (
    SetPart,
    Wanted,
    first_fields,
    json_lines_files,
    read_records,
    text_of,
)

LOOKED_FOR = "translations: .jsonl files with src and tgt (cmn-eng.jsonl, ...)"
SIDES = ("src", "tgt")


@dataclass(frozen=True)
class TranslationSet:
    """`target.texts[i]` translates `source.texts[i]`. `languages` are those of both sides, from the file's name."""

    name: str
    files: tuple[str, ...]
    languages: tuple[str, str]
    source: SetPart
    target: SetPart
    kind = "translation"

    @property
    def parts(self) -> dict[str, SetPart]:
        return {"source": self.source, "target": self.target}

    @property
    def size(self) -> str:
        return f"{len(self.source):,} pairs"


def recognises(folder: Path) -> bool:
    return any(set(SIDES) <= first_fields(path) for path in json_lines_files(folder))


def read(folder: Path, wanted: Wanted) -> list[TranslationSet]:
    """Read a set from each file, or from the files of wanted languages. Raises the errors of `read_records`."""
    found = [path for path in json_lines_files(folder) if set(SIDES) <= first_fields(path)]
    return [read_translations(path, wanted) for path in found if not wanted.pairs or languages_of(path) in wanted.pairs]


def languages_of(path: Path) -> tuple[str, str]:
    source, _, target = path.stem.partition("-")
    return source, target


def read_translations(path: Path, wanted: Wanted) -> TranslationSet:
    records = read_records(path, wanted.skipped, dict.fromkeys(SIDES, text_of))
    source, target = map(records.part, SIDES)
    return TranslationSet(f"{path.parent.name} {path.stem}", (records.source,), languages_of(path), source, target)
