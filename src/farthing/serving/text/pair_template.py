"""A query and a document as one sequence of tokens, as the model was trained to see them.

In: cleaned texts. Out: token ids in three pieces: what is the same for every document of a query (`front`), the
document, and what ends every pair (`end`). Put together they are what the model's own tokenizer makes of the pair,
token for token; only the document may be cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from farthing.models.pair_prompt import PairPrompt
from farthing.models.spec import ModelSpec
from farthing.serving.request import TextEnd
from farthing.serving.text.tokenizer import Encoded, TextTokenizer


class PairTemplate(Protocol):
    """
    Attributes:
        instruction: the task, where a caller gives none; None where the model takes none.
        end: ids behind a document.
    """

    @property
    def instruction(self) -> str | None: ...

    @property
    def end(self) -> list[int]: ...

    def front(self, query: str, instruction: str) -> list[int]:
        """Ids before a document."""
        ...

    def documents(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each document alone."""
        ...

    def documents_to_cut(
        self, texts: Sequence[str], num_tokens: int, where: TextEnd, *, first_chars: int
    ) -> list[Encoded]:
        """As `documents`, or as far as they have more than `num_tokens` (`TextTokenizer.encode_enough`)."""
        ...


class PromptTemplate:
    """The words of a prompt around query and document, without special tokens of the tokenizer's own."""

    def __init__(self, tokenizer: TextTokenizer, prompt: PairPrompt) -> None:
        self._tokenizer, self._prompt = tokenizer, prompt
        self.instruction = prompt.instruction
        self._begin, self.end = tokenizer.encode_pieces([prompt.prefix, prompt.suffix])

    def front(self, query: str, instruction: str) -> list[int]:
        return self._begin + self._tokenizer.encode_prefix(self._prompt.query_part(query, instruction))

    def documents(self, texts: Sequence[str]) -> list[list[int]]:
        return self._tokenizer.encode_pieces([self._prompt.lead + text for text in texts])

    def documents_to_cut(
        self, texts: Sequence[str], num_tokens: int, where: TextEnd, *, first_chars: int
    ) -> list[Encoded]:
        led = [self._prompt.lead + text for text in texts]
        return self._tokenizer.encode_enough(led, num_tokens, where, first_chars=first_chars, add_special_tokens=False)


class TokenizerTemplate:
    """The tokenizer's own template for pairs ([CLS] query [SEP] document [SEP], and its like).

    A separator that stands in a query's words is left out: the model reads types of tokens off the first one.
    """

    instruction = None

    def __init__(self, tokenizer: TextTokenizer, separator: int | None) -> None:
        self._tokenizer, self._separator = tokenizer, separator
        self._begin, self._between, self.end = tokenizer.pair_specials()

    def front(self, query: str, instruction: str) -> list[int]:  # noqa: ARG002
        ids = self._tokenizer.encode_prefix(query)
        return [*self._begin, *(token for token in ids if token != self._separator), *self._between]

    def documents(self, texts: Sequence[str]) -> list[list[int]]:
        return self._tokenizer.encode_pieces(texts)

    def documents_to_cut(
        self, texts: Sequence[str], num_tokens: int, where: TextEnd, *, first_chars: int
    ) -> list[Encoded]:
        return self._tokenizer.encode_enough(
            texts, num_tokens, where, first_chars=first_chars, add_special_tokens=False
        )


def pair_template(tokenizer: TextTokenizer, prompt: PairPrompt | None, spec: ModelSpec) -> PairTemplate:
    """Raises `TokenizerError` where the tokenizer has no template for pairs and the model needs it."""
    return TokenizerTemplate(tokenizer, spec.pair_separator) if prompt is None else PromptTemplate(tokenizer, prompt)
