"""What a caller asks for, and what comes back."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Literal, get_args

from farthing.core.deferred import dataclass
from farthing.core.errors import DeadlineError, InputError, TooManyTextsError, shown
from farthing.core.settings import ServingSettings
from farthing.core.space import VectorSpace
from farthing.serving.text.vocabulary import NONE_UNKNOWN, Unknown

if TYPE_CHECKING:
    import numpy as np

# numpy is imported where it computes, because the command line shows its help with what is here.

InputType = Literal["query", "document"]
TextEnd = Literal["start", "end"]
LaneName = Literal["interactive", "bulk"]
LANES: tuple[LaneName, ...] = get_args(LaneName)  # the first goes first
Pair = tuple[str, str]  # a query and a document


@dataclass(frozen=True)
class Timings:
    """Seconds that a text spent in each stage; for several texts, the mean.

    Attributes:
        tokenize_s: time to clean and tokenise the slice that held the text.
        queue_s: time from then until the first batch with a text of the slice began.
        compute_s: time from then until the last of the slice's batches ended.
    """

    tokenize_s: float = 0.0
    queue_s: float = 0.0
    compute_s: float = 0.0


NOT_TIMED = Timings()


def mean_timings(parts: Iterable[tuple[int, Timings]]) -> Timings:
    """The mean timings of texts in several slices, each given as its number of texts and its timings."""
    parts = list(parts)
    num_texts = sum(count for count, _ in parts) or 1
    return Timings(
        sum(count * part.tokenize_s for count, part in parts) / num_texts,
        sum(count * part.queue_s for count, part in parts) / num_texts,
        sum(count * part.compute_s for count, part in parts) / num_texts,
    )


@dataclass(frozen=True)
class Urgency:
    """How soon a request must be served.

    Attributes:
        lane: where it waits. Interactive requests go before bulk ones, which have a share of every batch.
        timeout_s: time limit, counted from `start_s`; a request that is not finished by then fails. None for no limit.
        start_s: when the time begins to count, by `time.monotonic`.
    """

    lane: LaneName = "interactive"
    timeout_s: float | None = None
    start_s: float = field(default_factory=time.monotonic)

    def is_over(self, now_s: float) -> bool:
        return self.timeout_s is not None and now_s >= self.start_s + self.timeout_s

    def left_s(self) -> float | None:
        """The seconds left until the limit: 0 when it has passed, None where there is no limit."""
        return None if self.timeout_s is None else max(0.0, self.start_s + self.timeout_s - time.monotonic())

    def error(self) -> DeadlineError:
        """The error that the caller gets when the limit has passed."""
        return DeadlineError(
            f"The request was not finished within its time limit of {(self.timeout_s or 0) * 1000:.0f} ms; what was "
            "left of it is not computed. Allow more time, or send fewer texts at once."
        )


USUAL = Urgency()  # the default


@dataclass(frozen=True)
class EmbedRequest:
    """A request for vectors.

    Attributes:
        inputs: texts, or lists of this model's token ids in their place (special tokens are added where they are
            missing).
        prompt: literal text put before every text.
        prompt_name: name of a prompt that is stored with the model.
        instruction: a task in words, put into the model's own template.
        input_type: asks for the model's prompt for queries or for documents, if it has one.
        dimensions: length of the vectors; None for the full length.
        normalize: whether to scale the vectors to length 1 (after they were cut).
        truncate: whether to cut texts longer than the context instead of refusing them; None for the configured
            default.
        truncate_from: the end at which texts that are too long lose tokens; at the start they lose their prompt too.
        urgency: the request's lane in the queue and its time limit.
        max_tokens: most tokens of a text, special tokens and prompts included, where that is less than the context;
            `truncate` decides what happens to longer texts. None for the context.
        per_token: whether to make a vector of every token, prompts and special tokens included, instead of one of every
            text.
        leaves_out: whether an input that cannot be embedded as it is gets a zero vector and is named in the result's
            `errors`, instead of failing the request.
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
    """The answer to a request for vectors.

    Attributes:
        vectors: float32 [texts, dimensions], in the order of the inputs. Where a vector of every token was asked for,
            an array [texts] of objects, each float32 [tokens, dimensions].
        num_tokens: tokens of the request's texts, prompts and special tokens included.
        num_computed_tokens: tokens that were computed for the texts; tokens that several texts of a batch share count
            for only one of them.
        space: the vectors' space, which says what they can be compared with.
        truncated: indices of texts that were cut to the context.
        warnings: one ASCII sentence each.
        timings: mean timings of the texts.
        text_tokens: tokens of each text, which add up to `num_tokens`; 0 where a zero vector is the answer.
        unknown: words that the model does not know; where a text has no others, its vector says nothing.
        num_cached, num_uncached: texts that were found in a cache, and texts that were looked for there in vain.
        errors: the error of each input that was left out, by the input's index.
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
    """Split the request into several, of at most `num_texts` texts each."""
    for start in range(0, len(request.inputs), num_texts):
        yield replace(request, inputs=request.inputs[start : start + num_texts])


def joined(results: Sequence[EmbedResult]) -> EmbedResult:
    """The answer to a request that was answered in parts: at least one, all with vectors of one space."""
    import numpy as np

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
        terms: the request's prompt and its warnings.
        is_clean: whether its texts have been through `clean_input` already, with this prompt before them.
        result: the answer, where nothing has to be computed.
        lookup: what a cache in front of the model found out; only that cache reads it.
    """

    request: EmbedRequest
    terms: Terms
    is_clean: bool = False
    result: EmbedResult | None = None
    lookup: object = None


def check_number(num_texts: int, settings: ServingSettings, param: str) -> None:
    """Raise `TooManyTextsError` when a request has more texts than are taken at once."""
    limit = settings.max_texts_per_request
    if num_texts > limit:
        raise TooManyTextsError(
            f"The request has {num_texts} texts; at most {limit} are taken at once "
            "(max_texts_per_request). Send several requests.",
            param=param,
        )


@dataclass(frozen=True)
class RerankRequest:
    """A request for scores.

    Attributes:
        inputs: pairs of a query and a document.
        instruction: the task in words, for models that take one; None for the model's default.
        truncate: whether to cut documents to the context (None means yes) or to refuse those that are too long.
        truncate_from: the end at which documents that are too long lose tokens.
        urgency: the request's lane in the queue and its time limit.
        max_tokens: most tokens of a pair, special tokens and prompts included, where that is less than the context;
            None for the context.
        max_document_tokens: most tokens of each document, which is cut to them whatever `truncate` says; None for no
            such limit.
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
    """The answer to a request for scores.

    Attributes:
        logits: float32 [pairs], in the order of the inputs.
        num_tokens: tokens of all pairs, prompts and special tokens included.
        num_computed_tokens: how many of them were computed for this request, and not shared with other texts.
        truncated: indices of pairs whose document was cut.
        timings: mean timings of the pairs.
    """

    logits: np.ndarray
    num_tokens: int
    num_computed_tokens: int
    truncated: tuple[int, ...] = ()
    timings: Timings = NOT_TIMED

    @property
    def scores(self) -> np.ndarray:
        """The scores, float32 [pairs], from 0 to 1: the sigmoid of the logits."""
        import numpy as np

        return np.asarray(0.5 * (1 + np.tanh(0.5 * self.logits.astype(np.float64))), dtype=np.float32)

    def ranking(self, top_n: int | None = None) -> list[Ranked]:
        """The `top_n` best documents, or all of them without it, best first; of equal ones, the earlier comes first."""
        import numpy as np

        scores, best = self.scores, np.argsort(-self.logits, kind="stable")[:top_n]
        return [Ranked(int(index), float(scores[index]), float(self.logits[index])) for index in best]


@dataclass(frozen=True)
class Ranked:
    """A document, by its index in the request; the score is the sigmoid of the logit."""

    index: int
    score: float
    logit: float


def check_top_n(top_n: int | None) -> None:
    """Raise `InputError` when `top_n` is less than 1."""
    if top_n is not None and top_n < 1:
        raise InputError(f"top_n is {top_n}; it must be at least 1.", param="top_n")


def rank_request(
    query: str, documents: Sequence[str], instruction: str | None = None, truncate: bool | None = None
) -> RerankRequest:
    """The request that pairs a query with each document. Raises `InputError` for what is not a text."""
    if isinstance(documents, str):
        raise InputError("documents is a single text; give a list of texts.", param="documents")
    if not isinstance(query, str):
        raise InputError(f"query is {shown(query)}; it must be a text (str).", param="query")
    for index, text in enumerate(documents):
        if not isinstance(text, str):
            raise InputError(
                f"Document {index} is {shown(text)}; it must be a text (str).", param=f"documents[{index}]"
            )
    return RerankRequest([(query, text) for text in documents], instruction, truncate)
