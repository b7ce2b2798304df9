"""Definitions of classes whose methods are made when they are first used.

`dataclass` is that of the standard library, except that the library compiles up to six methods of each class from text
as soon as the class is defined. In the process of an `Embedder` that was a fifth of the time to the first vector: a
hundred classes, most of them never used. `deferred_checks` is for imports of libraries that define many classes which
pydantic checks; they take about half the time with it. Where pydantic keeps its defaults is no public interface: if
they are elsewhere, the import is slow and nothing else changes (tests/unit/core/test_deferred.py tells).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING
from importlib import import_module
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import Field as AnyField
    from dataclasses import dataclass as dataclass  # noqa: TID251

    Field = AnyField[Any]
else:

    def dataclass(kind: type | None = None, /, *, frozen: bool = False, eq: bool = True) -> Any:
        """As `dataclasses.dataclass`: objects of such classes are compared, hashed, shown, replaced and pickled alike.

        Fields are those of `dataclasses.field`, with everything that it takes but `kw_only`. What inherits from such a
        class and is frozen is made by this function too.
        """

        def define(kind: type) -> type:
            kind.__doc__ = kind.__doc__ or kind.__name__  # the library would put the signature there, not known yet
            own = {name for name, value in vars(kind).items() if not (name == "__hash__" and value is None)}
            made = dataclasses.dataclass(init=False, repr=False, eq=False)(kind)  # noqa: TID251
            names = ["__init__", "__repr__"]
            if eq:
                names += ["__eq__", "__hash__"] if frozen else ["__eq__"]
            for name in names:
                if name not in own:
                    setattr(made, name, deferred(made, name, frozen))
            if eq and not frozen and "__hash__" not in own:
                made.__hash__ = None
            if frozen:
                made.__setattr__, made.__delattr__ = refuse_to_assign, refuse_to_delete
            return made

        return define if kind is None else define(kind)


def deferred(kind: type, name: str, is_frozen: bool) -> Callable[..., Any]:
    """The method `name`, which puts a compiled one into the class in its own place when it is first called."""

    def method(self: object, *args: Any, **named: Any) -> Any:
        fields = dataclasses.fields(kind)
        made = compile_init(kind, fields, is_frozen) if name == "__init__" else compile_method(name, fields)
        made.__qualname__ = f"{kind.__qualname__}.{name}"
        setattr(kind, name, made)
        return made(self, *args, **named)

    return method


def compile_init(kind: type, fields: Sequence[Field], is_frozen: bool) -> Callable[..., Any]:
    """`__init__`. Raises `SyntaxError` where a field without a default follows one that has a default."""
    known: dict[str, Any] = {"assign": object.__setattr__, "not_given": object()}
    parameters, lines = ["self"], []
    for field in fields:
        name, value, default = field.name, field.name, ""
        if field.default_factory is not MISSING:
            known[f"make_{name}"] = field.default_factory
            value, default = f"make_{name}()", "=not_given"
            if field.init:
                value += f" if {name} is not_given else {name}"
        elif field.default is not MISSING:
            known[f"default_{name}"] = field.default
            default = f"=default_{name}"
        if field.init:
            parameters.append(name + default)
        elif field.default_factory is MISSING:
            continue  # the class has the default, or `__post_init__` sets the field
        lines.append(f"assign(self, {name!r}, {value})" if is_frozen else f"self.{name} = {value}")
    if hasattr(kind, "__post_init__"):
        lines.append("self.__post_init__()")
    return compiled("__init__", parameters, lines or ["pass"], known)


def compile_method(name: str, fields: Sequence[Field]) -> Callable[..., Any]:
    """`__repr__`, `__eq__` or `__hash__`."""
    if name == "__repr__":
        shown = ", ".join(f"{field.name}={{self.{field.name}!r}}" for field in fields if field.repr)
        method = compiled(name, ["self"], [f"return f'{{self.__class__.__qualname__}}({shown})'"], {})
        return recursive_repr()(method)
    if name == "__hash__":
        hashed = [field.name for field in fields if (field.compare if field.hash is None else field.hash)]
        return compiled(name, ["self"], [f"return hash({values_of('self', hashed)})"], {})
    assert name == "__eq__"
    names = [field.name for field in fields if field.compare]
    is_other = "if other.__class__ is not self.__class__: return NotImplemented"
    is_equal = f"return {values_of('self', names)} == {values_of('other', names)}"
    return compiled(name, ["self", "other"], [is_other, is_equal], {})


def values_of(owner: str, names: Sequence[str]) -> str:
    return "(" + "".join(f"{owner}.{name}, " for name in names) + ")"


def compiled(name: str, parameters: Sequence[str], lines: Sequence[str], known: dict[str, Any]) -> Callable[..., Any]:
    """A function whose text has no words but names of fields; `known` are the names it uses beside Python's own."""
    body = "\n    ".join(lines)
    exec(f"def {name}({', '.join(parameters)}):\n    {body}", known)
    method: Callable[..., Any] = known[name]
    return method


def refuse_to_assign(_: object, name: str, __: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def refuse_to_delete(_: object, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


@contextmanager
def deferred_checks() -> Iterator[None]:
    """Have pydantic make the checks of classes that are defined meanwhile when they are first used."""
    defaults = pydantic_defaults()
    before = defaults.get("defer_build")
    defaults["defer_build"] = True
    try:
        yield
    finally:
        defaults["defer_build"] = before


def pydantic_defaults() -> dict[str, Any]:
    """The settings of classes that say nothing else; a dictionary that nobody reads where they are not found."""
    try:
        defaults = import_module("pydantic._internal._config").config_defaults
    except (ImportError, AttributeError):
        return {}
    return defaults if isinstance(defaults, dict) and "defer_build" in defaults else {}
