"""Pairs of a query and a document made ready for the queue: cleaned, tokenised, the document cut to the context.

In: pairs with their place in the request. Out: the token ids of each pair. The work runs on whatever thread it is
called on.

A template makes one sequence of tokens of a query and a document, as the model was trained to see them. It gives token
ids in three pieces: what is the same for every document of a query (`front`), the document, and what ends every pair
(`end`). Put together they are what the model's own tokenizer makes of the pair, token for token; only the document may
be cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from farthing.core.errors import InputError, QueryTooLongError, TextTooLargeError, TextTooLongError, TextTooShortError
from farthing.core.settings import ServingSettings
from farthing.models.pair_prompt import PairPrompt
from farthing.models.spec import ModelSpec
from farthing.serving.request import Pair, TextEnd
from farthing.serving.text.clean import clean_named
from farthing.serving.text.prepare import CUT_CHARS, REFUSED_CHARS, Prepared, Slice
from farthing.serving.text.tokenizer import Encoded, TextTokenizer


class PairTemplate(Protocol):
    """
    Attributes:
        instruction: the task where a caller gives none; None where the model takes none.
        end: ids behind a document.
    """

    @property
    def instruction(self) -> str | None: ...

    @property
    def end(self) -> list[int]: ...

    def front(self, query: str, instruction: str) -> list[int]:
        """The ids before a document."""
        ...

    def documents(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each document alone."""
        ...

    def documents_to_cut(
        self, texts: Sequence[str], num_tokens: int, where: TextEnd, *, first_chars: int
    ) -> list[Encoded]:
        """As `documents`, but perhaps only a part with more than `num_tokens` (`TextTokenizer.encode_enough`)."""
        ...


class PromptTemplate:
    """The words of a prompt around the query and the document, without special tokens of the tokenizer's own."""

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

    A separator in the words of a query is left out, because the model tells the types of tokens from the first
    separator.
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
    """The template for pairs. Raises `TokenizerError` where the model needs the tokenizer's own and there is none."""
    return TokenizerTemplate(tokenizer, spec.pair_separator) if prompt is None else PromptTemplate(tokenizer, prompt)


class PairPreparer:
    """Makes pairs ready for the queue; each document is cut to at most `max_document_tokens`."""

    def __init__(
        self,
        template: PairTemplate,
        context_length: int,
        settings: ServingSettings,
        max_document_tokens: int | None = None,
    ) -> None:
        self._template = template
        self._context_length = context_length
        self._settings = settings
        self._max_document_tokens = max_document_tokens
        self._latest: tuple[str, str, list[int]] | None = None  # query, instruction, and the ids that they make

    def for_request(self, max_tokens: int | None = None, max_document_tokens: int | None = None) -> PairPreparer:
        """A preparer for one request, of pairs of at most `max_tokens` where that is less than the context.

        It keeps the ids of the latest query, which all slices of a request mostly share. Raises `InputError` for less
        than one token a document.
        """
        if max_document_tokens is not None and max_document_tokens < 1:
            raise InputError(
                f"max_tokens_per_doc is {max_document_tokens}; it must be at least 1.", param="max_tokens_per_doc"
            )
        context_length = min(self._context_length, max_tokens or self._context_length)
        if max_document_tokens is not None:  # beside the words that the prompt puts before each document
            max_document_tokens += len(self._template.documents([""])[0])
        return PairPreparer(self._template, context_length, self._settings, max_document_tokens)

    def prepare(self, part: Slice) -> Prepared:
        """Make a slice of pairs (query, document) ready for the queue; its prefix is the instruction.

        Documents are cut to the context, as rerankers do, unless `truncate` is False.

        Raises:
            InputError: a pair cannot be scored as it is; the error names the first such pair.
        """
        inputs: Sequence[Pair] = part.inputs
        start, prefix, truncate, truncate_from = part.start, part.prefix, part.truncate, part.truncate_from
        fronts: dict[str, list[int]] = {}
        for place, (query, _) in enumerate(inputs):
            if query not in fronts:
                fronts[query] = self._front(query, start + place, prefix)
        texts = [
            self._clean(text, f"Document {start + place}", f"documents[{start + place}]")
            for place, (_, text) in enumerate(inputs)
        ]
        pairs, truncated = [], []
        context, per_token = self._context_length, REFUSED_CHARS if truncate is False else CUT_CHARS
        encoded = self._template.documents_to_cut(texts, context, truncate_from, first_chars=per_token * context)
        for place, (ids, is_part) in enumerate(encoded):
            front, index = fronts[inputs[place][0]], start + place
            room = self._context_length - len(front) - len(self._template.end)
            most = room if self._max_document_tokens is None else min(room, self._max_document_tokens)
            if len(ids) > most:
                if truncate is False and most == room:
                    num_tokens = self._context_length - room + len(ids)
                    name = "With its query, document"
                    raise TextTooLongError(index, num_tokens, context, name=name, param="documents", is_part=is_part)
                truncated.append(index)
                ids = ids[:most] if truncate_from == "end" else ids[len(ids) - most :]
            pairs.append([*front, *ids, *self._template.end])
        return Prepared(tuple(pairs), tuple(range(len(pairs))), tuple(truncated))

    def _front(self, query: str, index: int, instruction: str) -> list[int]:
        if self._latest is not None and self._latest[:2] == (query, instruction):
            return self._latest[2]
        cleaned = self._clean(query, f"The query of document {index}", "query")
        if len(cleaned) + len(instruction) > self._settings.max_text_chars:
            raise TextTooLargeError(
                f"The query of document {index} has {len(cleaned)} characters and the instruction {len(instruction)}; "
                f"at most {self._settings.max_text_chars} are taken in all. Shorten either, or set a larger "
                "max_text_chars.",
                param="query",
            )
        front = self._template.front(cleaned, instruction)
        num_tokens = len(front) + len(self._template.end)
        if num_tokens >= self._context_length:
            raise QueryTooLongError(num_tokens, self._context_length)
        self._latest = query, instruction, front
        return front

    def _clean(self, text: str, name: str, param: str) -> str:
        text = clean_named(text, name, param, self._settings.max_text_chars)
        num_chars = len(text.strip())
        if num_chars < self._settings.min_chars and self._settings.short_text == "error":
            raise TextTooShortError(
                f"{name} has {num_chars} visible characters; at least {self._settings.min_chars} are needed. Leave it "
                "out, or set short_text to embed.",
                param=param,
            )
        return text
