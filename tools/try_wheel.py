"""Install a wheel into a new virtual environment, where no compiler is on PATH, and run each kernel that this CPU has.

    python tools/try_wheel.py WHEEL [--only PACKAGE ...]    with --only, no other packages are installed beside it

Products of whole numbers are compared with numpy's. Exits with 1 where one is wrong or the library does not load.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

# Runs in the new environment.
CHECK = """
import shutil

import numpy as np

from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.place import LIBRARY

found = [name for name in ("g++", "c++", "clang++", "gcc", "cc") if shutil.which(name)]
assert not found, f"compilers are on PATH: {found}"
generator = np.random.default_rng(1)
rows, weight = (generator.integers(-127, 128, (n, 320)).astype(np.float32) for n in (37, 70))
rows[:, 0] = weight[:, 0] = 127  # the largest of each row, so that quantising leaves the others as they are
usable = []
for isa in ("portable", "avx2", "avxvnni", "avx512vnni", "avx512bf16", "amx", "neon_dotprod", "neon_i8mm", None):
    try:
        kernels = NativeKernels(LIBRARY, 2, isa)
    except RuntimeError:
        continue  # this CPU has no such instructions
    usable.append(kernels.isa)
    packed = kernels.pack("int8", weight)
    assert (kernels.linear("int8", rows, packed, 70) == rows @ weight.T).all(), f"{kernels.isa} multiplies wrongly"
    kernels.close()
print(f"{LIBRARY}: {', '.join(usable[:-1])}; by itself it takes {usable[-1]}")
"""


def main(wheel: Path, only: list[str] | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        environment = Path(scratch) / "venv"
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        python = environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CXX", "CC")}
        variables["PATH"] = str(python.parent)  # nothing else: no compiler
        packages = [str(wheel)] if only is None else ["--no-deps", str(wheel), *only]
        subprocess.run([*pip, *packages], check=True, env=variables)
        subprocess.run([str(python), "-c", CHECK], cwd=scratch, check=True, env=variables)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    packages = sys.argv[3:] if sys.argv[2:3] == ["--only"] else None
    main(Path(sys.argv[1]).resolve(), packages)
