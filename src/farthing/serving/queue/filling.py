"""A batch while it is filled: which of the texts that are offered go into it."""

from __future__ import annotations

from farthing.models.token_key import TOKEN_BYTES
from farthing.serving.queue.flow import Text
from farthing.serving.queue.token_counter import TokenCounter

# Texts passed over in search of some that fit: bounds the time that a batch takes to fill, however many wait.
LOOK_AHEAD_TEXTS = 1024


class Filling:
    """`max_tokens` bounds the tokens that are computed; a first text that has more goes alone.

    Attributes:
        taken: the batch's texts, in order.
    """

    def __init__(self, counter: TokenCounter, max_tokens: int, max_texts: int) -> None:
        self._counter, self._left, self._max_texts = counter, max_tokens, max_texts
        self._num_passed, self._takes_any = 0, False
        self.taken: list[Text] = []

    @property
    def is_over(self) -> bool:
        """Nothing more is taken in this round."""
        return len(self.taken) == self._max_texts or self._num_passed > LOOK_AHEAD_TEXTS

    def next_round(self) -> bool:
        """Whether there is one: where texts were passed over and room is left, in which any are taken that fit."""
        if self._takes_any or not self._num_passed or self._left <= 0:
            return False
        self._num_passed, self._takes_any = 0, True
        return True

    def offer(self, text: Text) -> int | None:
        """Take a text that fits; after one that did not, in the first round only one that shares tokens with the batch.

        Returns the tokens that are computed for it, None when it is not taken.
        """
        num_tokens = num_tokens_of(text)
        most = self._most(num_tokens)
        shares_only = self._num_passed > 0 and not self._takes_any
        added = self._add(text, min(most, num_tokens - 1) if shares_only else most)
        self._num_passed += added is None
        return added

    def claim(self, text: Text) -> int | None:
        """As `offer`, for texts that go before the order: one that does not fit is not passed over by others."""
        return None if self.is_over else self._add(text, self._most(num_tokens_of(text)))

    def _most(self, num_tokens: int) -> int:
        return self._left if self.taken else num_tokens

    def _add(self, text: Text, most: int) -> int | None:
        job, index = text
        added = self._counter.add(job.keys[index], most)
        if added is not None:
            self._left -= added
            self.taken.append(text)
        return added


def num_tokens_of(text: Text) -> int:
    job, index = text
    return len(job.keys[index]) // TOKEN_BYTES
