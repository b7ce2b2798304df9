"""Every error of the tree has its row in the one table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from farthing.core import errors
from farthing.core.errors import FarthingError
from farthing.server.http.errors import fault_of

STATUS = {
    errors.RequestTooLargeError: 413,
    errors.InputError: 400,
    errors.UnknownModelError: 404,
    errors.WrongTaskError: 400,
    errors.QueueFullError: 429,
    errors.DeadlineError: 504,
    errors.ServingError: 503,
    errors.EngineError: 500,
    errors.MeasurementError: 500,
    errors.NativeLibraryError: 500,
    errors.IndexNotFoundError: 404,
    errors.IndexExistsError: 409,
    errors.IndexBusyError: 409,
    errors.WrongSpaceError: 409,
    errors.IndexPlaceError: 409,
    errors.UnreadableIndexError: 409,
    errors.IndexAccessError: 403,
    errors.DiskFullError: 507,
    errors.VectorIndexError: 500,
    errors.AuthenticationError: 401,
    errors.RateLimitError: 429,
    errors.ModelError: 500,
    errors.SettingsError: 500,
    errors.MissingExtraError: 500,
    errors.UpstreamBusyError: 429,
    errors.UpstreamFailedError: 502,
}


def branches(kind: type[FarthingError]) -> Iterator[type[FarthingError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from branches(child)


def make(kind: type[FarthingError]) -> FarthingError:
    if issubclass(kind, errors.TextTooLongError):
        return kind(3, 300, 256)
    if issubclass(kind, (errors.QueryTooLongError, errors.PromptTooLongError)):
        return kind(300, 256)
    if issubclass(kind, errors.MissingExtraError):
        return kind("This", "server")
    return kind("message", param="input[3]")


def test_a_used_up_limit_says_when_to_come_back_in_whole_seconds() -> None:
    for retry_after_s, header in ((0.0, "1"), (0.2, "1"), (59.01, "60")):
        assert fault_of(errors.RateLimitError("", retry_after_s=retry_after_s)).headers == {"retry-after": header}


@pytest.mark.parametrize("kind", list(branches(FarthingError)), ids=lambda kind: kind.__name__)
def test_an_error_gets_the_status_of_its_nearest_branch(kind: type[FarthingError]) -> None:
    error = make(kind)
    fault = fault_of(error)
    assert fault.status == next(STATUS[base] for base in kind.__mro__ if base in STATUS)
    assert (fault.message, fault.param, fault.code) == (str(error), error.param, kind.code)
    assert ("retry-after" in fault.headers) == (fault.status in (429, 502, 503))


@pytest.mark.parametrize(("seconds", "header"), [(None, "1"), (0.2, "1"), (3.1, "4"), (60.0, "60")])
def test_a_full_queue_says_when_to_come_back(seconds: float | None, header: str) -> None:
    assert fault_of(errors.QueueFullError("full", retry_after_s=seconds)).headers == {"retry-after": header}
