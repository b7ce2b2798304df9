"""Pairs of a query and a document made ready for the queue: cleaned, tokenised, the document cut to the context.

In: pairs with their place in the request. Out: token ids a pair. Runs on whatever thread it is called on.
"""

from __future__ import annotations

from collections.abc import Sequence

from farthing.core.errors import InputError, QueryTooLongError, TextTooLargeError, TextTooLongError, TextTooShortError
from farthing.core.settings import ServingSettings
from farthing.serving.request import TextEnd
from farthing.serving.rerank_request import Pair
from farthing.serving.text.clean import clean_named
from farthing.serving.text.pair_template import PairTemplate
from farthing.serving.text.prepare import CUT_CHARS, REFUSED_CHARS, Prepared


class PairPreparer:
    """`max_document_tokens` are of each document, which is cut to them."""

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
        self._latest: tuple[str, str, list[int]] | None = None  # query, instruction, and what they make

    def for_request(self, max_tokens: int | None = None, max_document_tokens: int | None = None) -> PairPreparer:
        """One that keeps what the latest query of a request makes, which all its slices mostly share, for pairs of at
        most `max_tokens` where that is less than the context. Raises `InputError` for less than one token."""
        if max_document_tokens is not None and max_document_tokens < 1:
            raise InputError(
                f"max_tokens_per_doc is {max_document_tokens}; it must be at least 1.", param="max_tokens_per_doc"
            )
        context_length = min(self._context_length, max_tokens or self._context_length)
        if max_document_tokens is not None:  # beside the words that the prompt puts before each
            max_document_tokens += len(self._template.documents([""])[0])
        return PairPreparer(self._template, context_length, self._settings, max_document_tokens)

    def prepare(
        self, inputs: Sequence[Pair], start: int, prefix: str, truncate: bool | None, truncate_from: TextEnd = "end"
    ) -> Prepared:
        """`inputs` are the request's pairs (query, document) from index `start` on, `prefix` the instruction.

        Documents are cut to the context, as rerankers do, unless `truncate` is False.

        Raises:
            InputError: of the first pair that cannot be scored as it is.
        """
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
