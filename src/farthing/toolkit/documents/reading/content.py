"""The interface between documents and the readers of each kind of file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from farthing.core.deferred import dataclass
from farthing.toolkit.documents.document import PLAIN_TEXT

OnGuess = Callable[[str], object]  # is told an encoding that was guessed


@dataclass(frozen=True)
class Content:
    """
    Attributes:
        title: empty where the file gives itself none.
        kind: Markdown, plain text, or a programming language (`farthing.toolkit.documents.kinds`).
        keeps_lines: whether the text's lines are those of the file, so that passages can say where they stand in it.
    """

    text: str
    title: str = ""
    kind: str = PLAIN_TEXT
    keeps_lines: bool = True


class ContentReader(Protocol):
    def __call__(self, content: bytes, name: str, on_guess: OnGuess) -> Content:
        """Read a file from its bytes, which are unpacked already; messages call the file `name`.

        Raises `InputError` for a file that it cannot read, and `MissingExtraError`.
        """
        ...
