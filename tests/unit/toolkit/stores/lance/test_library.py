"""The import of LanceDB, in processes of its own, since a module is imported once in a process."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys

import pydantic

from farthing.core.deferred_checks import pydantic_defaults
from farthing.toolkit.stores.lance.library import import_lancedb

try:  # LanceDB needs it before Python 3.12
    from overrides import override
except ModuleNotFoundError:
    override = None

assert not set(sys.modules) & {"lancedb", "lance_namespace"}
defaults = pydantic_defaults()
assert defaults, "pydantic keeps its defaults elsewhere"
before = dict(defaults)
database = import_lancedb().connect(sys.argv[1])
assert defaults == before
assert override is None or sys.modules["overrides"].override is override


class Own(pydantic.BaseModel):
    number: int


models = [
    model
    for name, module in list(sys.modules.items())
    if name.startswith("lance_namespace_urllib3_client.models")
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, pydantic.BaseModel) and model is not pydantic.BaseModel
]
assert Own.__pydantic_complete__
print(len(models), sum(model.__pydantic_complete__ for model in models))
assert database.list_tables().tables == []  # what was not made at the import is made when it is used
"""


def test_checks_that_an_index_never_uses_are_not_made_at_the_import(tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    num_models, num_made = map(int, done.stdout.split())
    assert num_models > 50
    assert num_made < num_models / 4  # a few have no fields


WITHOUT_OVERRIDES = """
import sys
import types

sys.modules["overrides"] = types.ModuleType("elsewhere")
from farthing.toolkit.stores.lance.library import trusted_overrides

with trusted_overrides():
    pass
assert not hasattr(sys.modules["overrides"], "override")
"""


def test_another_library_of_overrides_only_makes_the_import_slow() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_OVERRIDES], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
