"""Every error that Farthing raises on purpose.

The tree (indentation is inheritance)::

    FarthingError
      SettingsError               a setting is unknown, malformed or out of range
        DoesNotFitError           no way to run the model fits the memory
        IndexPlaceError           something else stands where an index is to be made, changed or removed
      MissingExtraError           an optional package is not installed
      NativeLibraryError          the library that computes on CPUs is not there, or cannot be loaded
      InputError                  the caller's texts or parameters cannot be served as they are
        EmptyInputError           nothing to embed
        InvalidTextError          a text is not valid Unicode
        TextTooShortError         a text has fewer characters than allowed
        TextTooLongError          a text has more tokens than the context
        TextTooLargeError         a text has so many characters that it is not even tokenised
        PromptTooLongError        a prompt leaves no room in the context for a text
        QueryTooLongError         a query leaves no room in the context for a document
        TooManyTextsError         a request has more texts than allowed
        RequestTooLargeError      a request needs more memory than all requests together may take
        TooManyTokensError        a request has more tokens than allowed
        InvalidTokenError         a token id lies outside the vocabulary
        DimensionsError           the asked vector size is not available
        UnknownPromptError        the model has no prompt of that name
        UpstreamInputError        the server behind this one refused the input
          UpstreamLengthError     because a text is too long for it
      ModelError                  the model cannot be used
        ModelNotFoundError        no source has the model
        UnknownModelError         this process does not serve a model of that name
        WrongTaskError            the model makes vectors where pairs are to be scored, or the other way round
        CheckpointError           the model's files are incomplete or contradict each other
        UnknownArchitectureError  the model's family is not one of ours
        TokenizerError            the model's tokenizer would give silently wrong vectors
      EngineError                 the forward pass failed
        NonFiniteError            a vector has NaN or Inf even when computed in fp32
        BatchFailedError          the batch that held a text raised
        SpaceChangedError         a model makes other vectors than before, and they are to be compared
        OutOfMemoryError          a single text needs more memory than there is
      ServingError                the service cannot take or finish the work
        QueueFullError            more is waiting than allowed
        WorkerDiedError           the thread on the device died with work pending
        MemoryShortError          no new work is taken until memory is free again
        ClosedError               the service was shut down
        DeadlineError             the request's time limit passed
        NoUpstreamError           no server behind this one can be used now
        UpstreamBusyError         all servers behind this one have too much to do
        UpstreamFailedError       the servers that were asked failed, or gave answers that make no sense
      VectorIndexError            an index of documents cannot be used
        IndexNotFoundError        there is no index in that place
        IndexExistsError          there is an index already
        IndexBusyError            another process is changing the index
        UnreadableIndexError      the index's files are missing, cut off, garbled, or of another version of Farthing
        IndexAccessError          the operating system does not let this process read or change the index's files
        DiskFullError             there is no room left to write to
        WrongSpaceError           the index's vectors are of another space than the model's
      MeasurementError            a figure that was measured cannot be right
      AuthenticationError         no key was sent, or one that is not known
      RateLimitError              the caller has used up what it may ask for in a minute

A message says what was got, what the limit is, and what to do about it. Errors are raised where the fault is known, and
translated once at each boundary (HTTP: `farthing.server.http.errors`, command line: `farthing.cli.main`).
"""

from __future__ import annotations

import re
from typing import ClassVar

from farthing.core.sizes import mebibytes

MAX_SHOWN = 100  # characters of a value that a message repeats


def tokens_in_words(num_tokens: int, is_part: bool) -> str:
    return f"at least {num_tokens} tokens" if is_part else f"{num_tokens} tokens"


class FarthingError(Exception):
    """The base of the tree.

    Attributes:
        code: the stable, machine-readable name of the error.
        param: the parameter that is at fault, when there is one.
    """

    code: ClassVar[str] = "farthing_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param

    def __reduce__(self) -> tuple[object, ...]:
        # Pickled by its state: most kinds make their message from other arguments than the message.
        return rebuilt, (type(self), self.args, self.__dict__)


def rebuilt(kind: type[FarthingError], args: tuple[object, ...], state: dict[str, object]) -> FarthingError:
    """An error that came from another process."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class SettingsError(FarthingError):
    code = "invalid_setting"


class DoesNotFitError(SettingsError):
    """Even the way that needs the least memory needs `short_bytes` more than there is.

    Where `least_bytes` of memory would be enough, the message asks for that much, or else for what `or_else` says.
    """

    code = "does_not_fit"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        short_bytes: int = 0,
        least_bytes: int = 0,
        or_else: str = "",
    ) -> None:
        remedy = f" Give {mebibytes(least_bytes)} or more{or_else}." if least_bytes else ""
        super().__init__(message + remedy, param=param)
        self.short_bytes, self.least_bytes = short_bytes, least_bytes
        self._reason, self._or_else = message, or_else

    def beside(self, memory: str, kept_bytes: int, share: float = 0.0) -> DoesNotFitError:
        """The same error where the model was planned with less than the `memory` that was given.

        `kept_bytes` are kept for the rest of the process, and grow by `share` of a larger memory; they have to be given
        too.
        """
        least_bytes = int((self.least_bytes + kept_bytes) / (1 - share)) if self.least_bytes else 0
        return DoesNotFitError(
            f"{self._reason} Of {memory}, {mebibytes(kept_bytes)} are kept for what else the process holds.",
            param=self.param,
            short_bytes=self.short_bytes,
            least_bytes=least_bytes,
            or_else=self._or_else,
        )


class IndexPlaceError(SettingsError):
    code = "index_place_taken"


class MissingExtraError(FarthingError):
    code = "missing_extra"

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs a package that is not installed. Run: pip install 'farthing[{extra}]'")


class NativeLibraryError(FarthingError):
    code = "native_library"


class InputError(FarthingError):
    code = "invalid_input"


class EmptyInputError(InputError):
    code = "empty_input"


class InvalidTextError(InputError):
    code = "invalid_text"


class TextTooShortError(InputError):
    code = "text_too_short"


class TextTooLongError(InputError):
    """A text has `num_tokens` tokens where `max_tokens` are allowed; `index` is its place in the request.

    `name` is what the message calls the text. With `is_part` only a part was tokenised, and the text has more tokens.
    """

    code = "context_length_exceeded"

    def __init__(
        self,
        index: int,
        num_tokens: int,
        max_tokens: int,
        *,
        name: str = "Text",
        param: str = "input",
        is_part: bool = False,
    ) -> None:
        self.found = tokens_in_words(num_tokens, is_part)
        super().__init__(
            f"{name} {index} has {self.found}; this model takes at most {max_tokens}. "
            "Shorten or split it, or allow truncation (truncate: true).",
            param=param,
        )
        self.index = index
        self.num_tokens = num_tokens
        self.max_tokens = max_tokens


class TextTooLargeError(InputError):
    code = "text_too_large"


class PromptTooLongError(InputError):
    """A prompt with the special tokens has `num_tokens` tokens, where a text with its prompt may have `max_tokens`."""

    code = "prompt_too_long"

    def __init__(self, num_tokens: int, max_tokens: int, *, is_part: bool = False) -> None:
        super().__init__(
            f"The prompt has {tokens_in_words(num_tokens, is_part)} with the special ones; this model takes at most "
            f"{max_tokens} of a text with its prompt, so that no text fits. Shorten the prompt; only texts are cut.",
            param="prompt",
        )
        self.num_tokens = num_tokens
        self.max_tokens = max_tokens


class QueryTooLongError(InputError):
    """A query, with what stands around it, has `num_tokens` tokens, where a pair may have `max_tokens`."""

    code = "query_too_long"

    def __init__(self, num_tokens: int, max_tokens: int) -> None:
        super().__init__(
            f"The query has {num_tokens} tokens with the instruction and what stands around it; a pair has at most "
            f"{max_tokens}, so that no document fits. Shorten the query; only documents are cut.",
            param="query",
        )
        self.num_tokens = num_tokens
        self.max_tokens = max_tokens


class TooManyTextsError(InputError):
    code = "too_many_texts"


class RequestTooLargeError(InputError):
    code = "request_too_large"


class TooManyTokensError(InputError):
    code = "too_many_tokens"


class InvalidTokenError(InputError):
    code = "invalid_token"


class DimensionsError(InputError):
    code = "invalid_dimensions"


class UnknownPromptError(InputError):
    code = "unknown_prompt"


class UpstreamInputError(InputError):
    code = "upstream_refused"


class UpstreamLengthError(UpstreamInputError):
    code = "upstream_context_length_exceeded"


class ModelError(FarthingError):
    code = "model_error"


class ModelNotFoundError(ModelError):
    code = "model_source_not_found"


class UnknownModelError(ModelError):
    code = "model_not_found"


class WrongTaskError(ModelError):
    code = "wrong_task"


class CheckpointError(ModelError):
    code = "invalid_checkpoint"


class UnknownArchitectureError(ModelError):
    code = "unknown_architecture"


class TokenizerError(ModelError):
    code = "invalid_tokenizer"


class EngineError(FarthingError):
    code = "engine_error"


class NonFiniteError(EngineError):
    code = "non_finite_vector"


class BatchFailedError(EngineError):
    """The batch that held the text raised; the original exception is `__cause__`."""

    code = "batch_failed"


class SpaceChangedError(EngineError):
    code = "space_changed"


class OutOfMemoryError(EngineError):
    code = "out_of_memory"


class ServingError(FarthingError):
    code = "serving_error"


class QueueFullError(ServingError):
    """The queue has room again in about `retry_after_s`; None when that is not known."""

    code = "queue_full"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, param=param)
        self.retry_after_s = retry_after_s


class WorkerDiedError(ServingError):
    code = "worker_died"


class MemoryShortError(ServingError):
    code = "memory_short"


class ClosedError(ServingError):
    code = "closed"


class DeadlineError(ServingError):
    code = "deadline_exceeded"


class NoUpstreamError(ServingError):
    code = "no_upstream"


class UpstreamBusyError(ServingError):
    code = "upstream_busy"


class UpstreamFailedError(ServingError):
    code = "upstream_failed"


class VectorIndexError(FarthingError):
    code = "invalid_index"


class IndexNotFoundError(VectorIndexError):
    code = "index_not_found"


class IndexExistsError(VectorIndexError):
    code = "index_exists"


class IndexBusyError(VectorIndexError):
    code = "index_busy"


class UnreadableIndexError(VectorIndexError):
    code = "index_unreadable"


class IndexAccessError(VectorIndexError):
    code = "index_not_accessible"


class DiskFullError(VectorIndexError):
    code = "disk_full"


class WrongSpaceError(VectorIndexError):
    code = "wrong_vector_space"


class MeasurementError(FarthingError):
    code = "wrong_measurement"


class AuthenticationError(FarthingError):
    code = "invalid_api_key"


class RateLimitError(FarthingError):
    """The request is worth another try after `retry_after_s` seconds."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float = 1) -> None:
        super().__init__(message, param=param)
        self.retry_after_s = retry_after_s


def shown(value: object) -> str:
    """A value as a message repeats it: of a long value only the beginning."""
    try:
        text = repr(value)
    except ValueError:  # a number that is hexadecimal in a file can have more digits than Python writes
        text = "a number of thousands of digits"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def failed_index(error: InputError) -> int | None:
    """The index in the request of the text that is at fault; None where it is not a single text."""
    if isinstance(error, TextTooLongError):
        return error.index
    found = re.fullmatch(r"input\[(\d+)\]", error.param or "")
    return int(found[1]) if found else None
