"""Finds the sets of a folder, recognising their kinds by the names of the files and the fields of the records.

In: a folder that holds one set, or folders with one set each. Out: the sets, read. Each kind of set is a module of this
package with `LOOKED_FOR`, `recognises` and `read`, and is listed in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from farthing.core.errors import InputError
from farthing.toolkit.evaluate.sets import labels, pairs, retrieval, translation
from farthing.toolkit.evaluate.sets.labels import LabelSet
from farthing.toolkit.evaluate.sets.pairs import PairSet
from farthing.toolkit.evaluate.sets.records import Wanted
from farthing.toolkit.evaluate.sets.retrieval import RetrievalSet
from farthing.toolkit.evaluate.sets.translation import TranslationSet

LabelledSet = RetrievalSet | PairSet | LabelSet | TranslationSet


class Kind(Protocol):
    """A module of this package that knows one kind of set. `LOOKED_FOR` says in words how the kind is recognised."""

    LOOKED_FOR: str

    def recognises(self, folder: Path, /) -> bool: ...

    def read(self, folder: Path, wanted: Wanted, /) -> Sequence[LabelledSet]: ...


KINDS: tuple[Kind, ...] = (retrieval, labels, pairs, translation)


def find_sets(folder: Path, names: Sequence[str] = (), wanted: Wanted | None = None) -> list[LabelledSet]:
    """Read the set in `folder`, or the sets in its folders: in those with the given `names`, or in all without names.

    Raises:
        InputError: there is no such folder, a folder is no set, a file of a set cannot be read, or no set has a pair of
            languages that is wanted.
    """
    wanted = wanted or Wanted()
    if not folder.is_dir():
        what = "is a file" if folder.is_file() else "does not exist"
        raise InputError(f"{folder} {what}; give a folder of a labelled set, or of several.", param="data")
    found = [made for place in folders(folder, names) for made in read_set(place, wanted)]
    with_languages = (data for data in found if isinstance(data, (RetrievalSet, TranslationSet)))
    there = {data.languages for data in with_languages}
    missing = next((pair for pair in wanted.pairs if pair not in there), None)
    if missing is not None:
        raise InputError(f"No set of {folder} that is read has the languages {'-'.join(missing)}.", param="cross")
    if not found:
        raise InputError(
            f"No language of {folder} has both queries and a corpus. Give two with --cross, such as en-zh.",
            param="cross",
        )
    return found


def folders(folder: Path, names: Sequence[str]) -> list[Path]:
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if names:
        missing = [name for name in names if folder / name not in inner]
        if missing:
            there = ", ".join(path.name for path in inner) or "no folders"
            raise InputError(f"{folder} has no folder {missing[0]!r}; there: {there}.", param="sets")
        return [folder / name for name in names]
    return [folder] if any(folder.glob("*.jsonl")) or not inner else inner


def read_set(folder: Path, wanted: Wanted) -> Sequence[LabelledSet]:
    folder = folder.resolve()  # "." has no name
    for kind in KINDS:
        if kind.recognises(folder):
            return kind.read(folder, wanted)
    there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
    looked_for = "".join(f"\n  {kind.LOOKED_FOR}" for kind in KINDS)
    raise InputError(
        f"{folder} is no labelled set that is known here. In it: {there}. Looked for, one of:{looked_for}",
        param="data",
    )
