"""A slice of a request made ready for the queue: cleaned, prompted, tokenised, measured against the context.

In: texts or token ids with their place in the request. Out: the token ids of each text. The work runs on whatever
thread it is called on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from farthing.core.deferred import dataclass
from farthing.core.errors import InputError, PromptTooLongError, TextTooLongError, TooManyTokensError, failed_index
from farthing.core.settings import ServingSettings
from farthing.serving.request import TextEnd
from farthing.serving.text.clean import Input, clean_input
from farthing.serving.text.tokenizer import Encoded, TextTokenizer
from farthing.serving.text.vocabulary import NONE_UNKNOWN, Unknown, find_unknown

# Of a long text, this many characters for each token of the context are tokenised at first. That is enough of most
# texts that are cut. For texts that are refused there are more, so that only a text far over the context is refused
# without its exact length.
CUT_CHARS, REFUSED_CHARS = 8, 16


@dataclass(frozen=True)
class Slice:
    """The inputs of a request from index `start` on, and how they are to be prepared.

    Attributes:
        is_clean: whether the inputs have been through `clean_input` already.
        num_chars: characters of the inputs, and of what goes before each of them.
        longest_chars: characters of the longest input, likewise.
    """

    inputs: Sequence[Any]
    start: int = 0
    prefix: str = ""
    truncate: bool | None = None
    truncate_from: TextEnd = "end"
    is_clean: bool = False
    num_chars: int = 0
    longest_chars: int = 0


@dataclass(frozen=True)
class Prepared:
    """
    Attributes:
        texts: token ids of the texts to compute.
        places: index in the slice of each of these texts; the other inputs get zero vectors.
        truncated: indices in the request of texts that were cut.
        unknown: words in the texts that the model does not know; by index in the request.
    """

    texts: tuple[list[int], ...]
    places: tuple[int, ...]
    truncated: tuple[int, ...]
    unknown: Unknown = NONE_UNKNOWN

    @property
    def num_tokens(self) -> int:
        return sum(map(len, self.texts))


class Preparer:
    def __init__(self, tokenizer: TextTokenizer, context_length: int, settings: ServingSettings) -> None:
        self._tokenizer = tokenizer
        self._context_length = context_length
        self._settings = settings

    def limited_to(self, max_tokens: int | None) -> Preparer:
        """A preparer of texts of at most `max_tokens`, for a request that asks for fewer than the context has.

        Raises `InputError` where no text fits beside the special tokens.
        """
        if max_tokens is None or max_tokens >= self._context_length:
            return self
        check_room(max_tokens, self._tokenizer.special.count)
        return Preparer(self._tokenizer, max_tokens, self._settings)

    def prepare(self, part: Slice) -> Prepared:
        """Make a slice ready for the queue.

        Raises:
            InputError: a text cannot be embedded as it is; the error names the first such text. With the request's
                first texts, also when the prompt leaves no room for any text.
        """
        start, prefix, settings = part.start, part.prefix, self._settings
        if start == 0 and CUT_CHARS * len(prefix) > self._context_length:
            self._check_prompt(prefix)
        cut = settings.truncate if part.truncate is None else part.truncate
        cleaned = part.inputs
        if not part.is_clean:
            num_chars = len(prefix)
            cleaned = [clean_input(item, index, settings, num_chars) for index, item in enumerate(cleaned, start)]
        places = [place for place, item in enumerate(cleaned) if item is not None]
        items = [(start + place, cleaned[place]) for place in places]
        encoded = self._encode(items, prefix, part.truncate_from, CUT_CHARS if cut else REFUSED_CHARS)
        texts, truncated = [], []
        for place, (ids, is_part) in zip(places, encoded, strict=True):
            index = start + place
            if len(ids) > self._context_length:
                if not cut:
                    raise TextTooLongError(index, len(ids), self._context_length, is_part=is_part)
                ids = self._tokenizer.truncate(ids, self._context_length, part.truncate_from)
                truncated.append(index)
            texts.append(ids)
        unknown = self._unknown(texts, [start + place for place in places], prefix)
        return Prepared(tuple(texts), tuple(places), tuple(truncated), unknown)

    def _unknown(self, texts: Sequence[Sequence[int]], indices: Sequence[int], prefix: str) -> Unknown:
        token, others = self._tokenizer.unknown, self._tokenizer.special.count
        if prefix and token is not None and any(token in ids for ids in texts):
            others += sum(id != token for id in self._tokenizer.encode_prefix(prefix))
        return find_unknown(texts, indices, token, others)

    def _check_prompt(self, prefix: str) -> None:
        """Raise `PromptTooLongError` when no text fits beside the prompt."""
        context = self._context_length
        ((ids, is_part),) = self._tokenizer.encode_enough([prefix], context, first_chars=REFUSED_CHARS * context)
        if len(ids) >= context:
            raise PromptTooLongError(len(ids), context, is_part=is_part)

    def _encode(
        self, items: Sequence[tuple[int, Input | None]], prefix: str, truncate_from: TextEnd, chars_per_token: int
    ) -> list[Encoded]:
        """The ids of each input; for texts with more tokens than the context, perhaps those of a part."""
        context = self._context_length
        texts = [prefix + item for _, item in items if isinstance(item, str)]
        encoded = iter(
            self._tokenizer.encode_enough(texts, context, truncate_from, first_chars=chars_per_token * context)
        )
        prefix_ids = self._tokenizer.encode_prefix(prefix) if prefix and len(texts) < len(items) else []
        result = []
        for index, item in items:
            if isinstance(item, str):
                result.append(next(encoded))
            else:
                assert item is not None
                ids = self._tokenizer.insert_prefix(self._tokenizer.complete(item, index), prefix_ids)
                result.append(Encoded(ids, is_part=False))
        return result


def check_room(max_tokens: int, num_special: int) -> None:
    """Raise `InputError` where a request asks for so few tokens a text that none of them would be the text's own."""
    if max_tokens <= num_special:
        raise InputError(
            f"The request cuts texts to {max_tokens} tokens; this model adds {num_special} special tokens to every "
            "text, so it must be more."
        )


class BoundedPreparer:
    """Prepares one request with `preparer`; the request may have at most `max_tokens` in all."""

    def __init__(self, preparer: Preparer, max_tokens: int) -> None:
        self._preparer, self._max_tokens = preparer, max_tokens
        self._num_tokens: dict[int, int] = {}  # by the start of the slice, which may come again

    def prepare(self, part: Slice) -> Prepared:
        """As `Preparer.prepare`. It raises `TooManyTokensError` too."""
        prepared = self._preparer.prepare(part)
        self._num_tokens[part.start] = prepared.num_tokens
        if (num_tokens := sum(self._num_tokens.values())) > self._max_tokens:
            raise TooManyTokensError(
                f"The request has {num_tokens} tokens or more; at most {self._max_tokens} get a vector each at once "
                "(max_token_vectors). Send several requests.",
                param="input",
            )
        return prepared


class LeavingPreparer:
    """Prepares one request with `preparer`, and leaves out the inputs that cannot be embedded.

    Attributes:
        errors: errors of the inputs that are left out, by their index in the request.
    """

    def __init__(self, preparer: Preparer) -> None:
        self._preparer = preparer
        self.errors: dict[int, InputError] = {}

    def prepare(self, part: Slice) -> Prepared:
        """As `Preparer.prepare`, but it raises only errors that are no single input's fault."""
        try:
            return self._preparer.prepare(part)
        except InputError as error:
            if failed_index(error) is None:
                raise
        parts: list[tuple[int, Prepared]] = []
        for place, item in enumerate(part.inputs):
            try:
                parts.append((place, self._preparer.prepare(replace(part, inputs=[item], start=part.start + place))))
            except InputError as error:
                if failed_index(error) is None:
                    raise
                self.errors[part.start + place] = error.with_traceback(None)  # its frames hold the tokens
        return Prepared(
            tuple(text for _, found in parts for text in found.texts),
            tuple(place for place, found in parts for _ in found.texts),
            tuple(index for _, found in parts for index in found.truncated),
            Unknown(
                tuple(index for _, found in parts for index in found.unknown.texts),
                sum(found.unknown.num_tokens for _, found in parts),
            ),
        )
