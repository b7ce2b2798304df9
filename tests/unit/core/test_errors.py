from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterator

import pytest

from farthing.core import errors
from farthing.core.errors import (
    FarthingError,
    MissingExtraError,
    PromptTooLongError,
    QueryTooLongError,
    TextTooLongError,
)

CLASSES = [value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, FarthingError)]

WITH_FIGURES = (MissingExtraError, TextTooLongError, PromptTooLongError, QueryTooLongError)


def drawn(kind: type[FarthingError], depth: int = 0) -> Iterator[str]:
    yield "  " * depth + kind.__name__
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from drawn(child, depth + 1)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    text = inspect.getdoc(errors) or ""
    lines = text.partition("::\n\n")[2].partition("\n\n")[0].splitlines()
    # The name only; what follows it explains it.
    in_docstring = [line[: len(line) - len(line.lstrip())] + line.split()[0] for line in lines]
    margin = len(in_docstring[0]) - len(in_docstring[0].lstrip())
    assert [line[margin:] for line in in_docstring] == list(drawn(FarthingError))


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes) > 20


def test_a_missing_package_is_answered_with_the_command_that_installs_it() -> None:
    assert "pip install 'farthing[server]'" in str(MissingExtraError("The server", "server"))


def test_a_text_that_is_too_long_carries_its_figures() -> None:
    error = TextTooLongError(index=3, num_tokens=600, max_tokens=512)
    assert (error.index, error.num_tokens, error.max_tokens, error.param) == (3, 600, 512, "input")
    assert str(error).startswith("Text 3 has 600 tokens; this model takes at most 512.")


def test_a_text_of_which_a_part_was_tokenised_says_so() -> None:
    error = TextTooLongError(index=3, num_tokens=600, max_tokens=512, is_part=True)
    assert str(error).startswith("Text 3 has at least 600 tokens; this model takes at most 512.")


def test_a_prompt_that_is_too_long_carries_its_figures() -> None:
    error = PromptTooLongError(num_tokens=600, max_tokens=512)
    assert (error.num_tokens, error.max_tokens, error.param) == (600, 512, "prompt")
    assert "600 tokens" in str(error)
    assert "at most 512" in str(error)


def test_a_query_that_is_too_long_carries_its_figures() -> None:
    error = QueryTooLongError(num_tokens=600, max_tokens=512)
    assert (error.num_tokens, error.max_tokens, error.param) == (600, 512, "query")
    assert "600 tokens" in str(error)
    assert "at most 512" in str(error)


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind not in WITH_FIGURES])
def test_an_error_says_its_message_and_names_the_parameter(kind: type[FarthingError]) -> None:
    assert (str(kind("what and why", param="input")), kind("what", param="input").param) == ("what and why", "input")
    assert kind("what").param is None


def test_an_error_of_another_process_is_the_same_here() -> None:
    sent = TextTooLongError(index=3, num_tokens=600, max_tokens=512)
    error = pickle.loads(pickle.dumps(sent))
    assert type(error) is TextTooLongError
    assert (str(error), error.num_tokens, error.param) == (str(sent), 600, "input")
    error = pickle.loads(pickle.dumps(MissingExtraError("The server", "server")))
    assert "pip install 'farthing[server]'" in str(error)
