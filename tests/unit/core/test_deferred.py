"""Classes whose methods are made at their first use; those of pydantic in processes of their own."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any

import pytest

from farthing.core.deferred import dataclass


def define(dataclass: Callable[..., Any]) -> list[Any]:
    """Classes of data of all kinds that there are here, made by `dataclass`."""

    @dataclass(frozen=True)
    class Point:
        """A point."""

        x: int
        y: int = 2
        names: list[str] = field(default_factory=list, compare=False)
        note: str = field(default="none", repr=False)
        length: int = field(init=False, hash=False)

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("x is negative")
            object.__setattr__(self, "length", self.x + self.y)

    @dataclass(frozen=True)
    class Deeper(Point):
        z: int = 0

    @dataclass
    class Changing:
        items: list[Any] = field(default_factory=list)
        seen: dict[str, int] = field(default_factory=dict, init=False)

    @dataclass(eq=False)
    class Alone:
        name: str

    @dataclass(frozen=True)
    class Own:
        name: str

        def __repr__(self) -> str:
            return f"own {self.name}"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own) and other.name.lower() == self.name.lower()

    @dataclass(frozen=True)
    class Empty:
        pass

    return [Point, Deeper, Changing, Alone, Own, Empty]


def outcome(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except (TypeError, ValueError, AttributeError) as error:
        return type(error), str(error)


@pytest.mark.parametrize(
    "ask",
    [
        lambda point, *_: [repr(point(1)), repr(point(x=1, y=3, names=["a"], note="b"))],
        lambda point, *_: point(),
        lambda point, *_: point(1, 2, [], "", 5),
        lambda point, *_: point(1, z=2),
        lambda point, *_: point(-1),
        lambda point, *_: [
            point(1) == point(1, names=["a"]),
            point(1) == point(2),
            point(1) == 1,
            point(1) != point(1),
        ],
        lambda point, *_: hash(point(1)) == hash(point(1, names=["a"])),
        lambda point, *_: {point(1): 2}[point(1)],
        lambda point, *_: setattr(point(1), "x", 2),
        lambda point, *_: setattr(point(1), "other", 2),
        lambda point, *_: delattr(point(1), "x"),
        lambda point, *_: [repr(dataclasses.replace(point(1), y=7)), dataclasses.asdict(point(1)), point.__doc__],
        lambda point, *_: [(one.name, one.type, one.init, one.compare) for one in dataclasses.fields(point)],
        lambda point, *_: [vars(copy.copy(point(1))), vars(copy.deepcopy(point(1))), point.__match_args__],
        lambda point, *_: point(1).names is point(1).names,
        lambda point, deeper, *_: [repr(deeper(1, z=4)), deeper(1) == point(1), point(1) == deeper(1), hash(deeper(1))],
        lambda _, __, changing, *___: [repr(changing()), changing([1]) == changing([1]), changing.__hash__],
        lambda _, __, changing, *___: hash(changing()),
        lambda _, __, changing, *___: (made := changing(), made.items.append(made), repr(made))[-1],
        lambda _, __, changing, *___: (made := changing(), setattr(made, "items", 3), repr(made))[-1],
        lambda *kinds: [kinds[3]("a") == kinds[3]("a"), repr(kinds[3]("a")), len({kinds[3]("a"), kinds[3]("a")})],
        lambda *kinds: [
            repr(kinds[4]("A")),
            kinds[4]("A") == kinds[4]("a"),
            hash(kinds[4]("A")) == hash(kinds[4]("A")),
        ],
        lambda *kinds: [repr(kinds[5]()), kinds[5]() == kinds[5](), hash(kinds[5]())],
    ],
)
def test_a_dataclass_is_one_of_the_library(ask: Callable[..., object]) -> None:
    """Also in its first use, and in the words of its errors."""
    expected = outcome(lambda: ask(*define(dataclasses.dataclass)))
    assert outcome(lambda: ask(*define(dataclass))) == expected


@dataclass(frozen=True)
class Sent:
    """In a module, as pickle needs it."""

    names: tuple[str, ...]
    count: int = 0


def test_it_can_be_sent_to_another_process() -> None:
    sent = Sent(("a",), 2)
    assert pickle.loads(pickle.dumps(sent)) == sent
    with pytest.raises(FrozenInstanceError):
        pickle.loads(pickle.dumps(sent)).count = 3


def test_no_method_is_compiled_before_its_first_use() -> None:
    @dataclass(frozen=True)
    class Kept:
        name: str

    before = Kept.__init__
    assert Kept("a").name == "a"
    assert Kept.__init__ is not before
    assert Kept.__init__.__qualname__.endswith("Kept.__init__")
    assert Kept.__repr__.__qualname__.startswith("deferred.")


def run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_checks_are_made_when_they_are_first_used_and_only_for_classes_defined_meanwhile() -> None:
    run("""
import pydantic
from farthing.core.deferred import deferred_checks, pydantic_defaults

before = dict(pydantic_defaults())
assert before, "pydantic keeps its defaults elsewhere"
with deferred_checks():
    class Inside(pydantic.BaseModel):
        number: int
class Outside(pydantic.BaseModel):
    number: int
assert pydantic_defaults() == before
assert (Inside.__pydantic_complete__, Outside.__pydantic_complete__) == (False, True)
assert Inside(number="1").number == 1
assert Inside.__pydantic_complete__
""")


def test_another_pydantic_only_makes_the_import_slow() -> None:
    run("""
import sys
import types

sys.modules["pydantic._internal._config"] = types.ModuleType("elsewhere")
from farthing.core.deferred import deferred_checks, pydantic_defaults

assert pydantic_defaults() == {}
with deferred_checks():
    pass
""")


def test_the_server_imports_fastapi_so() -> None:
    run("""
import farthing.server.app
from fastapi.openapi.models import OpenAPI

assert not OpenAPI.__pydantic_complete__
assert OpenAPI.model_validate({"openapi": "3.1.0", "info": {"title": "a", "version": "1"}}).info.title == "a"
""")
