"""Words that a model's vocabulary does not have.

A tokenizer that does not know a word puts one token in its place, the same for all such words. A vector says nothing
about them: texts of nothing else all have the same one. In: the token ids of texts. Out: which texts consist of such
words, and one warning for a model that hardly knows what it is given.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import NamedTuple

logger = logging.getLogger(__name__)

# The warning comes when this many tokens were seen and this share of them is unknown, or with a text of nothing else.
LEAST_TOKENS, LARGE_SHARE = 200, 0.1


class Unknown(NamedTuple):
    """
    Attributes:
        texts: indices of texts of which no word is known.
        num_tokens: tokens that stand for unknown words, in all texts.
    """

    texts: tuple[int, ...] = ()
    num_tokens: int = 0


NONE_UNKNOWN = Unknown()


def find_unknown(texts: Sequence[Sequence[int]], indices: Sequence[int], unknown: int | None, others: int) -> Unknown:
    """Find the words of texts that the model does not know.

    Args:
        texts: token ids, special tokens and prompts included.
        indices: indices of the texts in their request.
        unknown: token that stands for unknown words; None where there is none.
        others: number of known tokens that are no text's own: special ones and those of the prompt.
    """
    if unknown is None:
        return NONE_UNKNOWN
    found, num_tokens = [], 0
    for index, ids in zip(indices, texts, strict=True):
        num_unknown = ids.count(unknown)
        num_tokens += num_unknown
        if num_unknown and len(ids) - num_unknown <= others:
            found.append(index)
    return Unknown(tuple(found), num_tokens)


class VocabularyWatch:
    """Warns once when a model hardly knows what it is given. Any thread may call `note`."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._num_tokens = self._num_unknown = 0
        self._has_warned = False

    def note(self, num_tokens: int, unknown: Unknown) -> None:
        """Count the tokens of a request, roughly without special tokens, and the unknown ones; warn when it is time."""
        if self._has_warned:
            return
        with self._lock:
            self._num_tokens += num_tokens
            self._num_unknown += unknown.num_tokens
            is_much = self._num_tokens >= LEAST_TOKENS and self._num_unknown >= LARGE_SHARE * self._num_tokens
            if self._has_warned or not (is_much or unknown.texts):
                return
            self._has_warned = True
        logger.warning(
            "%d of %d tokens until now stand for words that the vocabulary of %s does not have: its vectors say "
            "nothing of them. Texts of no other words have the same vector whatever they say. For another language or "
            "script, take a model that was trained on it. This is said once.",
            self._num_unknown,
            self._num_tokens,
            self._model,
        )
