"""Words of passages that a model does not know, counted while they are embedded: vectors say nothing of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from farthing.serving.request import EmbedResult
from farthing.toolkit.encoder import Encoder


@dataclass
class UnknownWords:
    """
    Args:
        knows_a_word: whether the model knows any word of a text; None where that cannot be asked, as of a model on
            another server.

    Attributes:
        num_tokens: of what was embedded, titles, prompts and special tokens included.
        num_unknown_tokens: of these, how many stand for words that the model does not know.
        num_passages: that consist of such words alone, whatever they stand under; where the model cannot be asked, of
            which nothing that they stand under is known either.
    """

    knows_a_word: Callable[[str], bool] | None = None
    num_tokens: int = 0
    num_unknown_tokens: int = 0
    num_passages: int = 0
    _num_looked_at: int = 0  # of the unknown tokens

    @classmethod
    def to(cls, encoder: Encoder) -> UnknownWords:
        return cls(getattr(encoder, "knows_a_word", None))

    def note(self, result: EmbedResult) -> None:
        """To be told of whatever is embedded."""
        self.num_tokens += result.num_tokens
        self.num_unknown_tokens += result.unknown.num_tokens
        if self.knows_a_word is None:
            self.num_passages += len(result.unknown.texts)

    def look_at(self, texts: Iterable[str]) -> None:
        """The texts of the passages that were noted since the last call, without what they stand under."""
        if self.knows_a_word is not None and self.num_unknown_tokens > self._num_looked_at:
            self.num_passages += sum(not self.knows_a_word(text) for text in texts)
        self._num_looked_at = self.num_unknown_tokens
