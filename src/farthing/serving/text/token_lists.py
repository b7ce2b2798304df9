"""Lists of tokens, and the texts of token ids, for those who want to look at them: a bounded number a request.

In: texts or token ids. Out: what a function of the caller's makes of each text's tokens, since the tokens themselves
take many times the memory of the text. The work is done on the tokenizer's threads, a part of the request at a time, so
that it ends soon when nobody waits for it any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from farthing.core.errors import TooManyTokensError
from farthing.core.settings import ServingSettings
from farthing.serving.request import LaneName
from farthing.serving.text.clean import clean_input
from farthing.serving.text.pools import TokenizerPools
from farthing.serving.text.tokenizer import PIECE_CHARS, TextTokenizer, Token, num_utf8_bytes

PART_TEXTS = 256

T = TypeVar("T")


class TokenLists:
    def __init__(self, tokenizer: TextTokenizer, pools: TokenizerPools, settings: ServingSettings) -> None:
        self._tokenizer, self._pools = tokenizer, pools
        # Empty texts have tokens, too.
        self._settings = replace(settings, short_text="embed")
        self._max_tokens = settings.max_listed_tokens

    async def tokens(
        self,
        texts: Sequence[str],
        prefix: str,
        write: Callable[[list[Token]], T],
        lane: LaneName,
        *,
        add_special_tokens: bool,
    ) -> tuple[list[T], int]:
        """What `write` makes of the tokens of each text behind `prefix`, and the number of tokens in all.

        Raises:
            InputError: one of the texts is not a text, or there are more than `max_listed_tokens` tokens.
        """
        import asyncio

        loop, found, num_tokens = asyncio.get_running_loop(), list[T](), 0

        def work(start: int, stop: int, room: int) -> tuple[list[T], int]:
            inputs = [self._prompted(texts[index], index, prefix) for index in range(start, stop)]
            # In some texts each byte is a token, and each token would become an object of its own.
            if sum(map(num_utf8_bytes, inputs)) > room:
                encoded = self._tokenizer.encode_enough(inputs, room, first_chars=2 * room)
                self._check(self._max_tokens - room + sum(len(ids) for ids, _ in encoded), "inputs")
            written, num_found = list[T](), 0
            for tokens in self._tokenizer.tokens(inputs, add_special_tokens=add_special_tokens):
                num_found += len(tokens)
                self._check(self._max_tokens - room + num_found, "inputs")
                written.append(write(tokens))
            return written, num_found

        for start, stop, num_chars in parts_of(texts, len(prefix)):
            pool = self._pools.pool(lane, num_chars, max(map(len, texts[start:stop])))
            written, num_found = await loop.run_in_executor(pool, work, start, stop, self._max_tokens - num_tokens)
            found += written
            num_tokens += num_found
        return found, num_tokens

    async def texts(
        self, ids: Sequence[Sequence[int]], lane: LaneName, *, skip_special_tokens: bool
    ) -> tuple[list[str], int]:
        """The text that each list of ids stands for, and the number of ids in all.

        Raises:
            InputError: an id is not one of the model's, or there are more than `max_listed_tokens`.
        """
        import asyncio

        num_tokens = sum(map(len, ids))
        self._check(num_tokens, "ids")

        def work() -> list[str]:
            return self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)

        return await asyncio.get_running_loop().run_in_executor(self._pools.pool(lane, num_tokens, 0), work), num_tokens

    def _prompted(self, text: str, index: int, prefix: str) -> str:
        cleaned = clean_input(text, index, self._settings, len(prefix))
        assert isinstance(cleaned, str)
        return prefix + cleaned

    def _check(self, num_tokens: int, param: str) -> None:
        if num_tokens > self._max_tokens:
            raise TooManyTokensError(
                f"The request has {num_tokens} tokens or more; at most {self._max_tokens} are taken at once "
                "(max_listed_tokens). Send several requests.",
                param=param,
            )


def parts_of(texts: Sequence[str], prompt_chars: int) -> Iterator[tuple[int, int, int]]:
    """Yield start, stop and number of characters of parts of the texts; a long text is a part of its own."""
    start = num_chars = 0
    for stop, text in enumerate(texts):
        more_chars = prompt_chars + len(text)
        if stop - start >= PART_TEXTS or (stop > start and num_chars + more_chars > PIECE_CHARS):
            yield start, stop, num_chars
            start, num_chars = stop, 0
        num_chars += more_chars
    if start < len(texts):
        yield start, len(texts), num_chars
