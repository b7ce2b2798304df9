"""Classes of pydantic that are defined without their checks, in processes of their own."""

from __future__ import annotations

import subprocess
import sys


def run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_checks_are_made_when_they_are_first_used_and_only_for_classes_defined_meanwhile() -> None:
    run("""
import pydantic
from farthing.core.deferred_checks import deferred_checks, pydantic_defaults

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
from farthing.core.deferred_checks import deferred_checks, pydantic_defaults

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
