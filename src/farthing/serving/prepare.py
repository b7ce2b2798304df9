"""A slice of a request made ready for the queue: cleaned, prompted, tokenised, measured against the context.

In: texts or token ids with their place in the request. Out: token ids a text. Runs on whatever thread it is called on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from farthing.core.errors import TextTooLongError
from farthing.core.settings import ServingSettings
from farthing.serving.request import TextEnd
from farthing.serving.text import Input, clean_input
from farthing.serving.tokenizer import TextTokenizer


@dataclass(frozen=True)
class Prepared:
    """
    Attributes:
        texts: token ids of the texts to compute.
        places: index in the slice of each of them; the others get zero vectors.
        truncated: indices in the request of texts that were cut.
    """

    texts: tuple[list[int], ...]
    places: tuple[int, ...]
    truncated: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        return sum(map(len, self.texts))


class Preparer:
    def __init__(self, tokenizer: TextTokenizer, context_length: int, settings: ServingSettings) -> None:
        self._tokenizer = tokenizer
        self._context_length = context_length
        self._settings = settings

    def prepare(
        self, inputs: Sequence[Input], start: int, prefix: str, truncate: bool | None, truncate_from: TextEnd = "end"
    ) -> Prepared:
        """`inputs` are the request's from index `start` on.

        Raises:
            InputError: of the first text that cannot be embedded as it is.
        """
        cut = self._settings.truncate if truncate is None else truncate
        cleaned = [clean_input(item, start + place, self._settings) for place, item in enumerate(inputs)]
        places = [place for place, item in enumerate(cleaned) if item is not None]
        encoded = self._encode([(start + place, cleaned[place]) for place in places], prefix)
        texts, truncated = [], []
        for place, ids in zip(places, encoded, strict=True):
            index = start + place
            if len(ids) > self._context_length:
                if not cut:
                    raise TextTooLongError(index, len(ids), self._context_length)
                ids = self._tokenizer.truncate(ids, self._context_length, truncate_from)
                truncated.append(index)
            texts.append(ids)
        return Prepared(tuple(texts), tuple(places), tuple(truncated))

    def _encode(self, items: Sequence[tuple[int, Input | None]], prefix: str) -> list[list[int]]:
        texts = [prefix + item for _, item in items if isinstance(item, str)]
        encoded = iter(self._tokenizer.encode(texts))
        prefix_ids = self._tokenizer.encode_prefix(prefix) if prefix and len(texts) < len(items) else []
        result = []
        for index, item in items:
            if isinstance(item, str):
                result.append(next(encoded))
            else:
                assert item is not None
                result.append(self._tokenizer.insert_prefix(self._tokenizer.complete(item, index), prefix_ids))
        return result
