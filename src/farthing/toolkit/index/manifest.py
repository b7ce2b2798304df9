"""The manifest of an index: which space its vectors are of, how documents are split, where its data is.

A manifest may have been copied, cut off or written by somebody else, so each field is checked before it is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from typing import Any

from farthing.core.deferred import dataclass
from farthing.core.errors import InputError, ModelNotFoundError, UnreadableIndexError, WrongSpaceError
from farthing.core.space import VectorSpace
from farthing.toolkit.documents.splitting.split import Splitting

LAYOUT = 1
MAX_NAME_CHARS = 4_096
MAX_DIMENSIONS = 65_536
# The largest number of tokens or version: far beyond what there is, and far from what would overflow.
MAX_NUMBER = 2**24
DATA = re.compile(r"data-[0-9]{1,9}")
ID = re.compile(r"[0-9a-f]{32}|")


@dataclass(frozen=True)
class IndexManifest:
    """
    Attributes:
        data: name of the store's data in the index's place.
        model: the model that made the vectors, as it was asked for.
        space: the space of the vectors.
        splitting: how documents that are added are split.
        words_version: the version of `farthing.toolkit.index.words` that segmented what is in the index.
        id: random, given when the index is made: an index that is made anew in the same place has another id. Indexes
            of the first versions have none.
    """

    data: str
    model: str
    space: VectorSpace
    splitting: Splitting
    words_version: int
    id: str = ""

    def to_json(self) -> str:
        return json.dumps({"layout": LAYOUT, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"

    def is_of(self, space: VectorSpace) -> bool:
        """Whether the vectors that are held are of this space, cut to as many dimensions as they have.

        One of the two spaces may also be that of a Farthing elsewhere, if that Farthing said that its vectors are of
        the other.
        """
        held = self.space
        return (
            replace(space, dimensions=held.dimensions).id == held.id
            or held.is_what_tells(space)
            or any(space.is_what_tells(replace(held, dimensions=num)) for num in (space.dimensions, held.dimensions))
        )

    def check_space(self, space: VectorSpace, model: str) -> None:
        """Raise `WrongSpaceError` when `model` makes vectors of another space than those that are held."""
        if not self.is_of(space):
            raise WrongSpaceError(
                f"The index holds vectors of {self.model} ({described(self.space)}); {model} makes others "
                f"({described(space)}). They cannot be compared. Use the index's own model, or move the index to this "
                "one with: farthing index reindex STORE --model MODEL"
            )


@contextmanager
def own_model_told(manifest: IndexManifest, given: str | None, remedy: str) -> Iterator[None]:
    """Wrap the opening of an index's encoder. If the index's own model, whose name the user did not write, cannot be
    found, the error says that the index was made with it. `given`: another name that the user wrote; `remedy`: how to
    write one."""
    try:
        yield
    except ModelNotFoundError as error:
        if given is not None:
            raise
        raise ModelNotFoundError(
            f"{error}\nThe index was made with the model {manifest.model}. If it lies elsewhere, {remedy}."
        ) from error


def described(space: VectorSpace) -> str:
    rounded = "" if space.format in ("", "none") else f"{space.format}, "
    return f"space {space.id}, {rounded}{space.pooling} pooling, {space.dimensions} dimensions"


def read_manifest(content: str, place: str) -> IndexManifest:
    """Read a manifest. Raises `UnreadableIndexError` for one that this version cannot read."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise not_readable(place, "it is not JSON, or nests too deep") from error
    if not isinstance(found, dict):
        raise not_readable(place, "it is no JSON object")
    layout = found.pop("layout", None)
    if layout != LAYOUT or isinstance(layout, bool):
        raise UnreadableIndexError(
            f"The index {place} has layout {shown(layout)}; this version of Farthing reads {LAYOUT}. Use the version "
            "that made it, or make it anew."
        )
    checked = {
        "data": is_text(found.get("data"), 100) and DATA.fullmatch(found["data"]) is not None,
        "model": is_text(found.get("model"), MAX_NAME_CHARS),
        "words_version": is_number(found.get("words_version"), 0, MAX_NUMBER),
        "id": is_text(found.get("id", ""), 100) and ID.fullmatch(found.get("id", "")) is not None,
    }
    refuse(place, "", found, checked | dict.fromkeys(("space", "splitting"), True))
    return IndexManifest(**found | {"space": space_in(found, place), "splitting": splitting_in(found, place)})


def space_in(manifest: Mapping[str, Any], place: str) -> VectorSpace:
    found = part(manifest, "space", place)
    checked = {
        "model": is_text(found.get("model"), MAX_NAME_CHARS),
        "fingerprint": is_text(found.get("fingerprint"), MAX_NAME_CHARS),
        "pooling": is_text(found.get("pooling"), 100),
        "dimensions": is_number(found.get("dimensions"), 1, MAX_DIMENSIONS),
        "normalized": isinstance(found.get("normalized"), bool),
    }
    refuse(place, "space.", found, checked)
    return VectorSpace(**found)


def splitting_in(manifest: Mapping[str, Any], place: str) -> Splitting:
    found = part(manifest, "splitting", place)
    checked = {field.name: is_number(found.get(field.name), 0, MAX_NUMBER) for field in fields(Splitting)}
    refuse(place, "splitting.", found, checked)
    try:
        return Splitting(**found)
    except InputError as error:
        raise not_readable(place, str(error)) from error


def part(manifest: Mapping[str, Any], name: str, place: str) -> dict[str, Any]:
    found = manifest.get(name)
    if not isinstance(found, dict):
        raise not_readable(place, f"{name!r} is missing or no JSON object")
    return found


def refuse(place: str, prefix: str, found: Mapping[str, Any], checked: Mapping[str, bool]) -> None:
    """Raise `UnreadableIndexError` for fields that are wrong, missing or unknown."""
    wrong = [name for name, is_right in checked.items() if not is_right]
    if wrong:
        values = ", ".join(f"{prefix}{name} ({shown(found.get(name))})" for name in wrong)
        raise not_readable(place, f"these are missing, of the wrong kind or out of range: {values}")
    unknown = [name for name in found if name not in checked]
    if unknown:
        raise not_readable(place, f"{prefix}{unknown[0][:80]} is not known to this version of Farthing")


def is_text(value: object, max_chars: int) -> bool:
    return isinstance(value, str) and len(value) <= max_chars


def is_number(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def shown(value: object) -> str:
    """A value for a message, at most some words of it."""
    if isinstance(value, (dict, list)):
        return type(value).__name__
    if isinstance(value, int) and abs(value) > 10**30:
        return "a very large number"
    written = repr(value[:80] if isinstance(value, str) else value)
    return "missing" if value is None else written


def not_readable(place: str, reason: str) -> UnreadableIndexError:
    return UnreadableIndexError(
        f"What describes the index {place} (farthing-index.json) cannot be read: {reason}. Put it back from a copy, or "
        "remove the index and make it anew."
    )
