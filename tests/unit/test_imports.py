"""What the engine may be imported with: torch, numpy, safetensors, tokenizers, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import importlib
import importlib.abc
import json
import pkgutil
import sys

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
