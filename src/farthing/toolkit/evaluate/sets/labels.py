"""Texts with labels: `train.jsonl` and `test.jsonl`, whose records have `text` and `label`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from farthing.core.deferred import dataclass
from farthing.toolkit.evaluate.sets.records import SetPart, Wanted, first_fields, label_of, read_records, text_of

LOOKED_FOR = "labels: train.jsonl and test.jsonl with text and label"
FILES = ("train.jsonl", "test.jsonl")


@dataclass(frozen=True)
class LabelSet:
    """`train_labels` are the labels of `train.texts`, `test_labels` the labels of `test.texts`."""

    name: str
    files: tuple[str, ...]
    train: SetPart
    train_labels: Sequence[str]
    test: SetPart
    test_labels: Sequence[str]
    kind = "labels"

    @property
    def parts(self) -> dict[str, SetPart]:
        return {"train": self.train, "test": self.test}

    @property
    def size(self) -> str:
        return (
            f"{len(set(self.train_labels))} labels, {len(self.train):,} texts to learn from, {len(self.test):,} to test"
        )


def recognises(folder: Path) -> bool:
    paths = [folder / name for name in FILES]
    return all(path.is_file() for path in paths) and {"text", "label"} <= first_fields(paths[0])


def read(folder: Path, wanted: Wanted) -> list[LabelSet]:
    """Read the set. Raises the errors of `read_records`."""
    fields = {"text": text_of, "label": label_of}
    train, test = (read_records(folder / name, wanted.skipped, fields) for name in FILES)
    sources = (train.source, test.source)
    return [
        LabelSet(
            folder.name, sources, train.part("text"), train.labels("label"), test.part("text"), test.labels("label")
        )
    ]
