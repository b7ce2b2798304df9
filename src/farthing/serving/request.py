"""What a caller asks for and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from farthing.core.errors import InputError, TooManyTextsError
from farthing.core.settings import ServingSettings
from farthing.core.space import VectorSpace
from farthing.serving.text.vocabulary import NONE_UNKNOWN, Unknown
from farthing.serving.timings import NOT_TIMED, Timings
from farthing.serving.urgency import USUAL, Urgency

InputType = Literal["query", "document"]
TextEnd = Literal["start", "end"]


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


@dataclass(frozen=True)
class Terms:
    """What is known of a request before anything is computed.

    Attributes:
        prefix: the literal text that goes before every text.
        warnings: as in `EmbedResult`.
    """

    prefix: str = ""
    warnings: tuple[str, ...] = ()


def check_number(num_texts: int, settings: ServingSettings, param: str) -> None:
    """Raises `TooManyTextsError` when a request has more texts than are taken at once."""
    limit = settings.max_texts_per_request
    if num_texts > limit:
        raise TooManyTextsError(
            f"The request has {num_texts} texts; at most {limit} are taken at once "
            "(max_texts_per_request). Send several requests.",
            param=param,
        )
