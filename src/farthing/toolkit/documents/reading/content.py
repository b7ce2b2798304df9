"""What a reader of files gives: the seam between a kind of file and documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from farthing.toolkit.documents.document import PLAIN_TEXT

OnGuess = Callable[[str], object]  # is told an encoding that is a guess


@dataclass(frozen=True)
class Content:
    """
    Attributes:
        title: empty where the file gives itself none.
        kind: of the text: Markdown, plain text, or a programming language (`farthing.toolkit.documents.kinds`).
        keeps_lines: the text's lines are the file's, so that passages can say where they stand in it.
    """

    text: str
    title: str = ""
    kind: str = PLAIN_TEXT
    keeps_lines: bool = True


class Reader(Protocol):
    def __call__(self, content: bytes, name: str, on_guess: OnGuess) -> Content:
        """What a file holds, whose bytes are unpacked already; messages call it `name`.

        Raises `InputError` for what it cannot read, and `MissingExtraError`.
        """
        ...
