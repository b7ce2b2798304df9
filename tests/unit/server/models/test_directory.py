from __future__ import annotations

import pytest

from farthing.core.errors import SettingsError, UnknownModelError
from farthing.server.models.directory import Directory
from farthing.server.models.slot import ModelEntry


def entry(name: str, *aliases: str, task: str = "embed") -> ModelEntry:
    return ModelEntry(name, lambda: pytest.fail("nothing is loaded"), aliases=aliases, task=task)  # type: ignore[arg-type]


MODELS = Directory(
    [entry("large", "path/to/large"), entry("small"), entry("judge", task="rerank")],
    {"auto": ["large", "small"], "careful": ["small", "large"]},
)


def names(name: str | None, task: str = "embed") -> list[str]:
    return [found.name for found in MODELS.find(name, task)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (None, ["large"]),
        ("", ["large"]),
        ("path/to/large", ["large"]),
        ("small", ["small"]),
        ("auto", ["large", "small"]),
        ("careful", ["small", "large"]),
    ],
)
def test_a_name_stands_for_models_in_order(name: str | None, found: list[str]) -> None:
    assert names(name) == found


def test_without_a_name_the_first_model_of_the_task_is_asked() -> None:
    assert names(None, "rerank") == names("auto", "rerank") == ["judge"]


def test_the_models_of_a_task_are_named() -> None:
    assert (MODELS.names_for("embed"), MODELS.names_for("rerank")) == (["large", "small"], ["judge"])


def test_models_and_routes_are_listed_by_their_first_names() -> None:
    assert MODELS.listed_names == ["large", "small", "judge", "careful"]
    assert MODELS.listed_name("path/to/large") == "large"
    assert MODELS.listed_name("careful") == "careful"
    assert MODELS.listed_name("auto") == "large"


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownModelError, match="no model 'big'; it serves 'large', 'small', 'judge', 'careful'"):
        MODELS.find("big", "embed")
    for name in (None, "", "auto", "careful", "path/to/large"):
        MODELS.find(name, "embed")


@pytest.mark.parametrize("routes", [{"a": ["b"]}, {"c": ["d"]}])
def test_names_that_stand_for_two_things_or_nothing_are_refused(routes: dict[str, list[str]]) -> None:
    with pytest.raises(SettingsError):
        Directory([entry("a"), entry("b")], routes)


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(SettingsError, match="'b' stands for two"):
        Directory([entry("a", "b"), entry("b")])
