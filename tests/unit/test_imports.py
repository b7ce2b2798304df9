"""What the engine may be imported with: torch, numpy, safetensors, tokenizers, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import importlib
import importlib.abc
import json
import pkgutil
import sys
from pathlib import Path

REFUSED = {
    "click", "fastapi", "httpx", "huggingface_hub", "modelscope", "orjson", "prometheus_client", "pyarrow", "pydantic",
    "sentence_transformers", "starlette", "tqdm", "transformers", "uvicorn",
}

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"{name} is refused here", name=name)

sys.meta_path.insert(0, Refuse())
imported = []
for layer in ("core", "quant", "checkpoint", "models", "engine"):
    package = importlib.import_module(f"farthing.{layer}")
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            # Kernels for cards, which nothing imports where Triton is not installed.
            if error.name != "triton":
                raise
            continue
        imported.append(module.name)
print(json.dumps({"imported": imported, "loaded": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def test_the_engine_and_all_below_it_import_without_hubs_servers_and_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {"farthing.core.settings", "farthing.engine.runner", "farthing.models.synth.checkpoint"} <= set(
        result["imported"]
    )
    assert {"torch", "numpy", "safetensors"} <= set(result["loaded"])
    assert "sympy" not in result["loaded"]  # of torch's compiler, which would take a second at every start


def test_importing_farthing_loads_no_torch() -> None:
    program = "import sys, farthing; print(sorted({'torch', 'numpy', 'tokenizers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


# What takes 50 ms and more to import. A help text needs none of it.
SLOW = (
    "torch", "numpy", "transformers", "tokenizers", "safetensors", "huggingface_hub", "requests", "httpx", "httpx2",
    "tqdm", "asyncio", "pyarrow", "pandas", "lancedb", "fastapi", "pydantic", "uvicorn", "prometheus_client", "sklearn",
    "scipy",
)  # fmt: skip

HELP = """
import contextlib
import io
import json
import sys
from pathlib import Path

from farthing.cli.index.command import COMMANDS as INDEX_COMMANDS
from farthing.cli.main import COMMANDS, run

slow, found = set(json.loads(sys.argv[1])), {}
for words in ([], *([name] for name in COMMANDS), *(["index", name] for name in INDEX_COMMANDS)):
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        assert run([*words, "--help"]) == 0
    assert "Usage: farthing" in shown.getvalue()
    found[" ".join(words)] = sorted(slow & set(sys.modules))
print(json.dumps(found))
"""


def test_no_help_text_waits_for_an_import_that_takes_long() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP, json.dumps(SLOW)], capture_output=True, text=True, timeout=60, check=True
    )
    found = json.loads(done.stdout)
    assert {"", "search", "index add", "serve"} <= set(found)
    assert {name: slow for name, slow in found.items() if slow} == {}


FIRST_VECTOR = """
import json
import sys
from pathlib import Path

from farthing import Embedder

with Embedder(sys.argv[1]) as model:
    assert model.encode("a text").shape == (model.dimensions,)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_a_model_in_a_folder_is_used_without_hubs_indexes_and_servers(tiny_qwen3: Path) -> None:
    command = [sys.executable, "-c", FIRST_VECTOR, str(tiny_qwen3)]
    for _ in range(2):  # the first one prepares int8 weights
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    unneeded = {"torch", "huggingface_hub", "filelock", "pyarrow", "lancedb", "fastapi", "pydantic", "click", "httpx"}
    assert unneeded & set(json.loads(done.stdout)) == set()
