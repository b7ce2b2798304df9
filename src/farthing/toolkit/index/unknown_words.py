"""Counts the words of passages that a model does not know, as they are embedded: vectors say nothing of such words."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from farthing.core.deferred import dataclass
from farthing.serving.request import EmbedResult
from farthing.toolkit.encoder import Encoder


@dataclass
class UnknownWords:
    """
    Args:
        knows_a_word: whether the model knows any word of a text; None where the model cannot be asked, for example
            because it is on another server.

    Attributes:
        num_tokens: the tokens of what was embedded, including titles, prompts and special tokens.
        num_unknown_tokens: how many of these tokens stand for words that the model does not know.
        num_passages: passages that consist of such words alone, whatever their title and heading. Where the model
            cannot be asked, a passage only counts if nothing of its title and heading is known either.
    """

    knows_a_word: Callable[[str], bool] | None = None
    num_tokens: int = 0
    num_unknown_tokens: int = 0
    num_passages: int = 0
    _num_looked_at: int = 0  # unknown tokens when `look_at` was last called

    @classmethod
    def to(cls, encoder: Encoder) -> UnknownWords:
        return cls(getattr(encoder, "knows_a_word", None))

    def note(self, result: EmbedResult) -> None:
        """Note a result. This must be called with the result of everything that is embedded."""
        self.num_tokens += result.num_tokens
        self.num_unknown_tokens += result.unknown.num_tokens
        if self.knows_a_word is None:
            self.num_passages += len(result.unknown.texts)

    def look_at(self, texts: Iterable[str]) -> None:
        """Look at the texts of the passages that were noted since the last call, without their titles and headings."""
        if self.knows_a_word is not None and self.num_unknown_tokens > self._num_looked_at:
            self.num_passages += sum(not self.knows_a_word(text) for text in texts)
        self._num_looked_at = self.num_unknown_tokens
