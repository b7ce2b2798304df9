"""The import of LanceDB, in processes of its own, since a module is imported once in a process."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys

import pydantic

from farthing.core.deferred import pydantic_defaults
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


assert Own.__pydantic_complete__
assert not [name for name in sys.modules if name.startswith("lance_namespace_urllib3_client")]
import lancedb.db

assert database.list_tables().tables == []  # what was not imported is imported when it is used
from lance_namespace_urllib3_client.models import DropNamespaceResponse

response = lancedb.db.DropNamespaceResponse(properties={"a": "b"})
assert type(response) is DropNamespaceResponse
assert isinstance(response, lancedb.db.DropNamespaceResponse)
assert response.properties == {"a": "b"}
"""


def test_what_an_index_never_uses_is_not_imported(tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


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
