"""What a caller asks for and what comes back."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from farthing.core.errors import DeadlineError, InputError, TooManyTextsError
from farthing.core.settings import ServingSettings
from farthing.core.space import VectorSpace
from farthing.serving.text.vocabulary import NONE_UNKNOWN, Unknown

InputType = Literal["query", "document"]
TextEnd = Literal["start", "end"]
LaneName = Literal["interactive", "bulk"]
LANES: tuple[LaneName, ...] = get_args(LaneName)  # the first goes first
Pair = tuple[str, str]  # a query and a document


@dataclass(frozen=True)
class Timings:
    """Seconds that a text spent in each stage; of several texts, their mean.

    Attributes:
        tokenize_s: cleaning and tokenising the slice that held it.
        queue_s: from then until the first batch with a text of the slice began.
        compute_s: from then until the last of the slice's batches ended.
    """

    tokenize_s: float = 0.0
    queue_s: float = 0.0
    compute_s: float = 0.0


NOT_TIMED = Timings()


def mean_timings(parts: Iterable[tuple[int, Timings]]) -> Timings:
    """Of slices, each with its number of texts."""
    parts = list(parts)
    num_texts = sum(count for count, _ in parts) or 1
    return Timings(
        sum(count * part.tokenize_s for count, part in parts) / num_texts,
        sum(count * part.queue_s for count, part in parts) / num_texts,
        sum(count * part.compute_s for count, part in parts) / num_texts,
    )


@dataclass(frozen=True)
class Urgency:
    """
    Attributes:
        lane: interactive requests go before bulk ones, which have a share of every batch.
        timeout_s: from `start_s` on; what is not finished by then is an error. None: no limit.
        start_s: by `time.monotonic`.
    """

    lane: LaneName = "interactive"
    timeout_s: float | None = None
    start_s: float = field(default_factory=time.monotonic)

    def is_over(self, now_s: float) -> bool:
        return self.timeout_s is not None and now_s >= self.start_s + self.timeout_s

    def left_s(self) -> float | None:
        """Until the limit; None without one, 0 when it has passed."""
        return None if self.timeout_s is None else max(0.0, self.start_s + self.timeout_s - time.monotonic())

    def error(self) -> DeadlineError:
        """What the caller gets when the limit has passed."""
        return DeadlineError(
            f"The request was not finished within its time limit of {(self.timeout_s or 0) * 1000:.0f} ms; what was "
            "left of it is not computed. Allow more time, or send fewer texts at once."
        )


USUAL = Urgency()  # the default


@dataclass(frozen=True)
class EmbedRequest:
    """
    Attributes:
        inputs: texts, or texts as this model's token ids (special tokens are added where they are missing).
        prompt: literal text put before every text.
        prompt_name: a prompt that is stored with the model.
        instruction: a task in words, put into the model's own template.
        input_type: takes the model's prompt for queries or documents, if it has one.
        dimensions: length of the vectors; None for all.
        normalize: scale the vectors to length 1 (after they were cut).
        truncate: cut texts longer than the context instead of refusing them; None for the configured default.
        truncate_from: where texts that are too long lose tokens; at the start a prompt goes with them.
        urgency: its lane in the queue and its time limit.
        max_tokens: of a text, special tokens and prompts included, where that is less than the context; what is longer
            goes by `truncate`. None for the context.
        per_token: a vector of every token instead of one of every text, prompts and special tokens included.
        leaves_out: an input that cannot be embedded as it is gets a zero vector and is named in the result's `errors`,
            instead of being the request's error.
    """

    inputs: Sequence[str | Sequence[int]]
    prompt: str | None = None
    prompt_name: str | None = None
    instruction: str | None = None
    input_type: InputType | None = None
    dimensions: int | None = None
    normalize: bool = True
    truncate: bool | None = None
    truncate_from: TextEnd = "end"
    urgency: Urgency = USUAL
    per_token: bool = False
    max_tokens: int | None = None
    leaves_out: bool = False


@dataclass(frozen=True)
class EmbedResult:
    """
    Attributes:
        vectors: float32 [texts, dimensions], in the order of the inputs. Where vectors of every token were asked for
            [texts] of objects, each float32 [tokens, dimensions].
        num_tokens: tokens of the request's texts, prompts and special tokens included.
        num_computed_tokens: those that were computed for them; what a batch shares counts for one text of it alone.
        space: what the vectors can be compared with.
        truncated: indices of texts that were cut to the context.
        warnings: one ASCII sentence each.
        timings: of its texts.
        text_tokens: tokens of each text, which add up to `num_tokens`; 0 where a zero vector is the answer.
        unknown: words that the model does not know: of texts with no others, vectors say nothing.
        num_cached, num_uncached: texts that were found in a cache, and those looked for in vain.
        errors: of inputs that were left out, by their index.
    """

    vectors: np.ndarray
    num_tokens: int
    num_computed_tokens: int
    space: VectorSpace
    truncated: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    timings: Timings = NOT_TIMED
    text_tokens: tuple[int, ...] = ()
    unknown: Unknown = NONE_UNKNOWN
    num_cached: int = 0
    num_uncached: int = 0
    errors: Mapping[int, InputError] = field(default_factory=dict)


def parts_of(request: EmbedRequest, num_texts: int) -> Iterator[EmbedRequest]:
    """The request as several, of so many texts each."""
    for start in range(0, len(request.inputs), num_texts):
        yield replace(request, inputs=request.inputs[start : start + num_texts])


def joined(results: Sequence[EmbedResult]) -> EmbedResult:
    """The answer to a request whose parts, at least one, were answered one by one with vectors of one space."""
    starts = itertools.accumulate((len(result.vectors) for result in results), initial=0)
    parts = list(zip(starts, results, strict=False))
    return replace(
        results[0],
        vectors=np.concatenate([result.vectors for result in results]),
        num_tokens=sum(result.num_tokens for result in results),
        num_computed_tokens=sum(result.num_computed_tokens for result in results),
        truncated=tuple(start + index for start, result in parts for index in result.truncated),
        warnings=tuple(dict.fromkeys(warning for result in results for warning in result.warnings)),
        timings=mean_timings((len(result.vectors), result.timings) for result in results),
        text_tokens=tuple(number for result in results for number in result.text_tokens),
        unknown=Unknown(
            tuple(start + index for start, result in parts for index in result.unknown.texts),
            sum(result.unknown.num_tokens for result in results),
        ),
        num_cached=sum(result.num_cached for result in results),
        num_uncached=sum(result.num_uncached for result in results),
        errors={start + index: error for start, result in parts for index, error in result.errors.items()},
    )


@dataclass(frozen=True)
class Terms:
    """What is known of a request before anything is computed.

    Attributes:
        prefix: the literal text that goes before every text.
        warnings: as in `EmbedResult`.
    """

    prefix: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckedRequest:
    """A request that its model can serve, and what was found out when it was checked.

    Attributes:
        terms: its prompt and its warnings.
        is_clean: its texts went through `clean_input` already, with this prompt before them.
        result: the answer, where nothing has to be computed.
        lookup: what a cache before the model found out, which is its own business.
    """

    request: EmbedRequest
    terms: Terms
    is_clean: bool = False
    result: EmbedResult | None = None
    lookup: object = None


def check_number(num_texts: int, settings: ServingSettings, param: str) -> None:
    """Raises `TooManyTextsError` when a request has more texts than are taken at once."""
    limit = settings.max_texts_per_request
    if num_texts > limit:
        raise TooManyTextsError(
            f"The request has {num_texts} texts; at most {limit} are taken at once "
            "(max_texts_per_request). Send several requests.",
            param=param,
        )


@dataclass(frozen=True)
class RerankRequest:
    """
    Attributes:
        inputs: pairs of a query and a document.
        instruction: the task in words, for models that take one; None for the model's default.
        truncate: cut documents to the context (None does too), or refuse those that are too long.
        truncate_from: where documents that are too long lose tokens.
        urgency: its lane in the queue and its time limit.
        max_tokens: of a pair, special tokens and prompts included, where that is less than the context; None for that.
        max_document_tokens: of each document, which is cut to them whatever `truncate` says; None for no such limit.
    """

    inputs: Sequence[Pair]
    instruction: str | None = None
    truncate: bool | None = None
    truncate_from: TextEnd = "end"
    urgency: Urgency = USUAL
    max_tokens: int | None = None
    max_document_tokens: int | None = None


@dataclass(frozen=True)
class RerankResult:
    """
    Attributes:
        logits: float32 [pairs], in the order of the inputs.
        num_tokens: tokens of all pairs, prompts and special tokens included.
        num_computed_tokens: those of them that were computed for this request, and not shared with other texts.
        truncated: indices of pairs whose document was cut.
        timings: of its pairs.
    """

    logits: np.ndarray
    num_tokens: int
    num_computed_tokens: int
    truncated: tuple[int, ...] = ()
    timings: Timings = NOT_TIMED

    @property
    def scores(self) -> np.ndarray:
        """float32 [pairs], from 0 to 1: the sigmoid of the logits."""
        return np.asarray(0.5 * (1 + np.tanh(0.5 * self.logits.astype(np.float64))), dtype=np.float32)

    def ranking(self, top_n: int | None = None) -> list[Ranked]:
        """The best first, the first of equal ones before the others; the `top_n` best, all without."""
        scores, best = self.scores, np.argsort(-self.logits, kind="stable")[:top_n]
        return [Ranked(int(index), float(scores[index]), float(self.logits[index])) for index in best]


@dataclass(frozen=True)
class Ranked:
    """A document by its index in the request; the score is the sigmoid of the logit."""

    index: int
    score: float
    logit: float


def check_top_n(top_n: int | None) -> None:
    """Raise `InputError` when it is less than 1."""
    if top_n is not None and top_n < 1:
        raise InputError(f"top_n is {top_n}; it must be at least 1.", param="top_n")
