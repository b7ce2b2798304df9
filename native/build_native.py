"""Compiles native/src into the package; needs a C++ compiler and nothing else.

    python native/build_native.py [flags]       for example -DFT_PROFILE, which counts cycles by stage

In: native/src and a compiler (CXX, else g++). Out: src/farthing/quant/native/lib/libfarthing_native.so. Needs no torch:
the library has a plain C interface. The sources of `KERNELS` are compiled once for each instruction set and picked at
run time by what the CPU has.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "native" / "src"
LIBRARY = ROOT / "src" / "farthing" / "quant" / "native" / "lib" / "libfarthing_native.so"

FLAGS = (
    "-std=c++17 -O3 -fPIC -pthread -fvisibility=hidden "
    "-fno-math-errno -fno-trapping-math -fno-strict-aliasing -Wno-psabi"
)
COMMON = ("api", "api_pass", "threads", "mean")
EXACT = ("pack", "nf4_pack", "nf4_unpack")  # rounded after each operation, as torch does, with nothing fused
KERNELS = ("layer", "linear", "quantize", "rope", "attention", "blocks_float", "rotation", "ends", "kernels", *EXACT)
# Lowest first, and linked in this order: inline code that several objects share is taken from the first.
INSTRUCTION_SETS = {"portable": ("blocks_portable", "")}
if platform.machine() in ("x86_64", "AMD64"):
    wide = "-march=x86-64-v4 -mavx512vnni -mprefer-vector-width=512"
    INSTRUCTION_SETS |= {
        "avx2": ("blocks_avx2", "-march=x86-64-v3"),
        "avx512vnni": ("blocks_avx512", wide),
        "avx512bf16": ("blocks_avx512", f"{wide} -mavx512bf16"),
        "amx": ("blocks_amx", f"{wide} -mavx512bf16 -mamx-tile -mamx-int8 -mamx-bf16"),
    }


def build(library: Path = LIBRARY, extra_flags: str = "") -> None:
    """Compile and link. Raises `OSError` without a compiler, `CalledProcessError` when it refuses."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None or sys.platform != "linux":
        raise FileNotFoundError("a C++ compiler for Linux (g++, or what CXX names)")
    known = {name: row for name, row in INSTRUCTION_SETS.items() if takes(compiler, row[1])}
    units = [(source, source, " ".join(f"-DFT_HAS_{name}" for name in known)) for source in COMMON]
    for name, (blocks, flags) in known.items():
        for source in (*KERNELS, blocks):
            exact = "-ffp-contract=off" if source in EXACT else ""
            units.append((source, f"{source}.{name}", f"-DFT_ISA={name} {flags} {exact}"))
    with tempfile.TemporaryDirectory() as scratch:

        def compile_unit(unit: tuple[str, str, str]) -> str:
            source, name, flags = unit
            target = f"{scratch}/{name}.o"
            command = [compiler, *FLAGS.split(), *extra_flags.split(), *flags.split()]
            run([*command, "-c", str(SOURCES / f"{source}.cpp"), "-o", target])
            return target

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile_unit, units))
        library.parent.mkdir(exist_ok=True)
        partial = library.with_suffix(".partial")
        libraries = ["-pthread", "-static-libstdc++", "-static-libgcc"]
        run([compiler, *extra_flags.split(), "-shared", "-Wl,--no-undefined", "-o", str(partial), *objects, *libraries])
        partial.replace(library)


def takes(compiler: str, flags: str) -> bool:
    """Whether the compiler knows the flags of an instruction set: those before GCC 11 and Clang 12 do not know AMX."""
    command = [compiler, *flags.split(), "-x", "c++", "-fsyntax-only", "-"]
    return subprocess.run(command, input=b"", stderr=subprocess.DEVNULL).returncode == 0


def run(command: list[str]) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    build(extra_flags=" ".join(sys.argv[1:]))
