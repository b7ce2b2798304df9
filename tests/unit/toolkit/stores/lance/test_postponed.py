"""Classes that are imported when they are used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from farthing.toolkit.stores.lance.postponed import postponed

USER = """
from typing import Optional

from farthing_test_classes.shapes import Circle
from farthing_test_classes.shapes.round import Ball as Sphere


def area(shape: Circle, other: Optional[Sphere] = None) -> "Circle | None":
    return Circle(2).area
"""


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module that imports classes of a package, neither of which is imported yet but the module."""
    shapes = tmp_path / "farthing_test_classes" / "shapes"
    shapes.mkdir(parents=True)
    (shapes.parent / "__init__.py").touch()
    (shapes / "__init__.py").write_text("""
class Circle:
    sides = 0
    def __init__(self, radius): self.area = 3 * radius**2
""")
    (shapes / "round.py").write_text("class Ball: pass")
    (tmp_path / "farthing_test_user.py").write_text(USER)
    monkeypatch.syspath_prepend(tmp_path)
    with postponed("farthing_test_classes"):
        module = import_module("farthing_test_user")
    yield module
    for name in [name for name in sys.modules if name.startswith("farthing_test_")]:
        del sys.modules[name]


def loaded() -> list[str]:
    return [name for name in sys.modules if name.startswith("farthing_test_classes")]


def test_nothing_is_imported_before_it_is_used(user: Any) -> None:
    assert user.Circle.__name__ == "Circle"
    assert not hasattr(user.Circle, "__wrapped__")  # what Python itself asks for
    assert loaded() == []
    assert user.area(None) == 12
    assert loaded() == ["farthing_test_classes", "farthing_test_classes.shapes"]


def test_stand_ins_behave_as_the_true_classes(user: Any) -> None:
    assert user.Circle.sides == 0
    circle, true = user.Circle(1), import_module("farthing_test_classes.shapes").Circle
    assert type(circle) is true
    assert isinstance(circle, user.Circle)
    assert not isinstance(circle, user.Sphere)
    assert issubclass(true, user.Circle)
    with pytest.raises(AttributeError):
        _ = user.Circle.corners


def test_what_is_loaded_already_is_taken_and_everything_else_is_left_alone(user: Any) -> None:
    true = import_module("farthing_test_classes.shapes").Circle
    del sys.modules["farthing_test_user"]
    finders = list(sys.meta_path)
    with postponed("farthing_test_classes"):
        assert import_module("farthing_test_user").Circle is true
    with pytest.raises(ZeroDivisionError), postponed("farthing_test_other"):
        raise ZeroDivisionError
    assert sys.meta_path == finders
    assert user.Circle is not true
