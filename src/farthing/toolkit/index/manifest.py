"""What an index says of itself: which space its vectors are of, how documents are split, where its data is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from farthing.core.errors import VectorIndexError, WrongSpaceError
from farthing.core.space import VectorSpace
from farthing.toolkit.documents.split import Splitting

LAYOUT = 1


@dataclass(frozen=True)
class Manifest:
    """
    Attributes:
        data: name of the store's data in the index's place.
        model: that made the vectors, as it was asked for.
        space: of the vectors.
        splitting: of documents that are added.
        words_version: of `farthing.toolkit.index.words`, which segmented what is in it.
    """

    data: str
    model: str
    space: VectorSpace
    splitting: Splitting
    words_version: int

    def to_json(self) -> str:
        return json.dumps({"layout": LAYOUT, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"

    def is_of(self, space: VectorSpace) -> bool:
        """Whether the vectors that are held are of this space, cut to as many dimensions."""
        return replace(space, dimensions=self.space.dimensions).id == self.space.id

    def check_space(self, space: VectorSpace, model: str) -> None:
        """Raises `WrongSpaceError` when `model` makes vectors of another space than those that are held."""
        if not self.is_of(space):
            raise WrongSpaceError(
                f"The index holds vectors of {self.model} ({described(self.space)}); {model} makes others "
                f"({described(space)}). They cannot be compared. Use the index's own model, or move the index to this "
                "one with: farthing index reindex STORE --model MODEL"
            )


def described(space: VectorSpace) -> str:
    return f"space {space.id}, {space.pooling} pooling, {space.dimensions} dimensions"


def read_manifest(content: str, place: str) -> Manifest:
    """Raises `VectorIndexError` for what this version cannot read."""
    try:
        fields = json.loads(content)
        layout = fields.pop("layout")
        if layout != LAYOUT:
            raise VectorIndexError(
                f"The index in {place} has layout {layout}; this version of Farthing reads {LAYOUT}. Use the version "
                "that made it, or make it anew."
            )
        space, splitting = VectorSpace(**fields.pop("space")), Splitting(**fields.pop("splitting"))
        return Manifest(**fields, space=space, splitting=splitting)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VectorIndexError(f"What describes the index in {place} cannot be read: {error}") from error
