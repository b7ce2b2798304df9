"""Compiles native/src into the package; needs a C++ compiler and nothing else.

    python native/build_native.py [flags]       for example -DFT_PROFILE, which counts cycles by stage

Without flags, nothing is compiled that the library there was made of. With FARTHING_NATIVE=here in the environment only
the best instruction set of this CPU is compiled, which takes a fifth of the time: such a library is for this machine
alone. The objects are kept in native/.objects, so that the others can be added later.

In: native/src and a compiler (CXX, which may be several words; else g++, c++ or clang++, else Clang from the package
`ziglang`, which pip brings for a build where there is none). Out: the library in
src/farthing/quant/native/lib, named as the system wants it. The library has a plain C interface. The sources of
`KERNELS` are compiled once for each instruction set and picked at run time by what the CPU has. A compiler for another
machine or system makes a library for that one (tools/make_wheels.py).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "native" / "src"
OBJECTS = ROOT / "native" / ".objects"
FOLDER = ROOT / "src" / "farthing" / "quant" / "native" / "lib"
LIBRARY_NAMES = {
    "linux": "libfarthing_native.so",
    "darwin": "libfarthing_native.dylib",
    "windows": "farthing_native.dll",
}
LIBRARY = FOLDER / LIBRARY_NAMES.get(platform.system().lower(), LIBRARY_NAMES["linux"])

FLAGS = (
    "-std=c++17 -O3 -fPIC -pthread -fvisibility=hidden "
    "-fno-math-errno -fno-trapping-math -fno-strict-aliasing -Wno-psabi "
    "-ffp-contract=fast"  # what GCC does anyway: Clang would fuse no product and sum that stand in two functions
)
COMMON = ("api", "api_pass", "cpu", "threads", "mean")
EXACT = ("pack", "nf4_pack", "nf4_unpack")  # rounded after each operation, as torch does, with nothing fused
KERNELS = ("layer", "linear", "quantize", "rope", "attention", "blocks_float", "rotation", "ends", "kernels", *EXACT)
LARGEST = ("layer", "blocks_float")  # in the time that they take
WIDE = "-march=x86-64-v4 -mavx512vnni -mprefer-vector-width=512"
# By machine, the source of the blocks and the flags. Lowest first, and linked in this order: inline code that several
# objects share is taken from the first.
INSTRUCTION_SETS = {
    "x86_64": {
        "portable": ("blocks_portable", ""),
        "avx2": ("blocks_avx2", "-march=x86-64-v3"),
        "avxvnni": ("blocks_avxvnni", "-march=x86-64-v3 -mavxvnni"),
        "avx512vnni": ("blocks_avx512", WIDE),
        "avx512bf16": ("blocks_avx512", f"{WIDE} -mavx512bf16"),
        "amx": ("blocks_amx", f"{WIDE} -mavx512bf16 -mamx-tile -mamx-int8 -mamx-bf16"),
    },
    "aarch64": {
        "portable": ("blocks_portable", ""),
        "neon_dotprod": ("blocks_neon_dotprod", "-march=armv8.2-a+dotprod"),
        "neon_i8mm": ("blocks_neon_i8mm", "-march=armv8.2-a+dotprod+i8mm+bf16"),
    },
}
# For tests on a CPU that has AVX-512 and no AVX-VNNI: "avxvnni" becomes AVX-512's form of the same instruction.
TEST_AVXVNNI = "-DFT_TEST_AVXVNNI"
ZIG = "ziglang==0.13.0"  # the package with a compiler
NO_COMPILER = 3  # the exit status
REMEDY = (
    "Install one of farthing's wheels (pip install --only-binary farthing farthing), "
    "or a C++ compiler (g++ or clang++) and try again."
)
MACHINES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler, g++ or Clang, and what it compiles for.

    Attributes:
        command: the program and the arguments of every call.
        machine: "x86_64", "aarch64", or another one, for which only the portable code is compiled.
        system: a key of `LIBRARY_NAMES`.
    """

    command: tuple[str, ...]
    machine: str
    system: str

    @property
    def instruction_sets(self) -> dict[str, tuple[str, str]]:
        return INSTRUCTION_SETS.get(self.machine, {"portable": ("blocks_portable", "")})

    def takes(self, flags: str) -> bool:
        """Whether it knows the flags of an instruction set: those before GCC 11 and Clang 12 do not know AMX."""
        with tempfile.TemporaryDirectory() as scratch:
            command = [*self.command, *flags.split(), "-x", "c++", "-c", "-", "-o", f"{scratch}/empty.o"]
            return subprocess.run(command, input=b"", stderr=subprocess.DEVNULL).returncode == 0


def find_compiler() -> Compiler:
    """What CXX names, else the first of g++, c++ and clang++, else the package ziglang.

    Raises `FileNotFoundError` where there is none.
    """
    named = shlex.split(os.environ.get("CXX", ""))
    for words in [named] if named else (["g++"], ["c++"], ["clang++"]):
        program = shutil.which(words[0])
        if program is not None:
            command = (program, *words[1:])
            said = subprocess.run([*command, "-dumpmachine"], check=True, capture_output=True, text=True).stdout
            return Compiler(command, *parse_triple(said.strip()))
    if not named and importlib.util.find_spec("ziglang"):
        from wheel_targets import target_here

        return target_here().compiler
    raise FileNotFoundError(f"no C++ compiler: {named[0] if named else 'neither g++, c++ nor clang++'} is on PATH")


def compiler_requirements() -> list[str]:
    """What pip brings for a wheel's build: a compiler, where there is none and one is needed."""
    if os.environ.get("FARTHING_NATIVE") == "apart" or "FARTHING_WHEEL_TARGET" in os.environ:
        return []
    try:
        find_compiler()
    except FileNotFoundError:
        return [ZIG]
    return []


def parse_triple(triple: str) -> tuple[str, str]:
    """Machine and system of "x86_64-linux-gnu", "arm64-apple-darwin23.1.0", "x86_64-w64-mingw32" and their like."""
    machine, _, rest = triple.partition("-")
    if "darwin" in rest or "macos" in rest:
        system = "darwin"
    elif "mingw" in rest or "windows" in rest:
        system = "windows"
    else:
        system = "linux"
    return MACHINES.get(machine.lower(), machine.lower()), system


def build_if_changed() -> None:
    """As `build`, for this machine, unless the library there was made of the same sources by the same compiler.

    Raises what `build` raises, and `ValueError` for another value of FARTHING_NATIVE than "here" and "all".
    """
    wanted = os.environ.get("FARTHING_NATIVE", "all")
    if wanted not in ("here", "all"):
        raise ValueError(f"FARTHING_NATIVE is {wanted!r}; it can be here or all")
    compiler = find_compiler()
    sets = {best_isa_here(compiler)} if wanted == "here" else set(compiler.instruction_sets)
    digest, noted = digest_of(compiler), LIBRARY.with_suffix(".digest")
    with one_at_a_time():
        made_of, _, compiled = noted.read_text().partition(" ") if noted.is_file() else ("", "", "")
        if LIBRARY.is_file() and made_of == digest and sets <= set(compiled.split()):
            return
        noted.unlink(missing_ok=True)
        objects = OBJECTS / digest[:16]
        for outdated in set(OBJECTS.glob("*/")) - {objects}:
            shutil.rmtree(outdated)
        build(compiler=compiler, only=sets, objects=objects)
        noted.write_text(" ".join([digest, *sorted(sets)]))


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait while another process builds, such as pip of another extra."""
    OBJECTS.mkdir(exist_ok=True)
    with (OBJECTS / "lock").open("w") as file:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def best_isa_here(compiler: Compiler) -> str:
    """The best instruction set that this CPU runs and the compiler knows, as the library itself would choose it."""
    probe = '#include <cstdio>\n#include "cpu.cpp"\nint main() { puts(farthing::best_isa(farthing::detect_cpu())); }'
    with tempfile.TemporaryDirectory() as scratch:
        program = f"{scratch}/probe"
        command = [*compiler.command, "-std=c++17", f"-I{SOURCES}", "-x", "c++", "-", "-o", program]
        subprocess.run(command, input=probe.encode(), check=True)
        best = subprocess.run([program], check=True, capture_output=True, text=True).stdout.strip()
    names = list(compiler.instruction_sets)
    known = [name for name in names[: names.index(best) + 1] if compiler.takes(compiler.instruction_sets[name][1])]
    return known[-1]


def digest_of(compiler: Compiler) -> str:
    said = subprocess.run([*compiler.command, "--version"], check=True, capture_output=True).stdout
    found = hashlib.sha256(repr(compiler).encode() + said)
    for file in sorted([Path(__file__), *(ROOT / "native").glob("*/*.h"), *SOURCES.glob("*.cpp")]):
        found.update(file.name.encode() + file.read_bytes())
    return found.hexdigest()


def build(
    library: Path = LIBRARY,
    extra_flags: str = "",
    compiler: Compiler | None = None,
    only: Collection[str] | None = None,
    objects: Path | None = None,
) -> None:
    """Compile and link.

    Args:
        only: the instruction sets; None for all.
        objects: a folder of objects made of these sources with the same flags before; new ones are added to it.

    Raises `FileNotFoundError` without a compiler, `CalledProcessError` when it refuses.
    """
    compiler = compiler or find_compiler()
    rows = compiler.instruction_sets.items()
    known = {name: row for name, row in rows if (only is None or name in only) and compiler.takes(row[1])}
    if TEST_AVXVNNI in extra_flags:
        known["avxvnni"] = ("blocks_avxvnni", "-march=x86-64-v3 -DFT_AVXVNNI_BY_AVX512")
    compiled = "-".join(known)
    units = [(source, f"{source}.{compiled}", " ".join(f"-DFT_HAS_{name}" for name in known)) for source in COMMON]
    for name, (blocks, flags) in known.items():
        for source in (*KERNELS, blocks):
            exact = "-ffp-contract=off" if source in EXACT else ""
            units.append((source, f"{source}.{name}", f"-DFT_ISA={name} {flags} {exact}"))
    with tempfile.TemporaryDirectory() as scratch:

        def compile_unit(unit: tuple[str, str, str]) -> str:
            source, name, flags = unit
            target = (objects or Path(scratch)) / f"{name}.o"
            if not target.is_file():
                command = [*compiler.command, *FLAGS.split(), *extra_flags.split(), *flags.split()]
                partial = target.with_suffix(".partial")
                run([*command, "-c", str(SOURCES / f"{source}.cpp"), "-o", str(partial)])
                partial.replace(target)
            return str(target)

        if objects:
            objects.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            # The largest come first, so that the last one is not waited for alone.
            begun = {
                unit: pool.submit(compile_unit, unit) for unit in sorted(units, key=lambda unit: unit[0] not in LARGEST)
            }
            made = [begun[unit].result() for unit in units]
        library.parent.mkdir(parents=True, exist_ok=True)
        linked = Path(scratch) / library.name
        # Without the names of what is inside: a seventh of the file. Who gives flags may want to look inside.
        strip = ["-s"] if compiler.system == "linux" and not extra_flags else []
        command = [*compiler.command, *extra_flags.split(), "-shared", *strip, *link_flags(compiler)]
        run([*command, "-o", str(linked), *made])
        # Beside its place first: a process that has the old library open keeps it whole.
        partial = library.with_suffix(".partial")
        shutil.copy(linked, partial)
        partial.replace(library)


def link_flags(compiler: Compiler) -> list[str]:
    if compiler.system == "linux":
        exports = f"-Wl,--version-script={ROOT / 'native' / 'exports.map'}"
        return ["-Wl,--no-undefined", exports, "-pthread", "-static-libstdc++", "-static-libgcc"]
    if compiler.system == "windows":
        return ["-static"]
    return ["-Wl,-install_name,@rpath/" + LIBRARY_NAMES["darwin"]]


def run(command: list[str]) -> None:
    subprocess.run(command, check=True)


def main(flags: list[str]) -> None:
    try:
        if flags:
            LIBRARY.with_suffix(".digest").unlink(missing_ok=True)
            build(extra_flags=" ".join(flags))
        else:
            build_if_changed()
    except FileNotFoundError as error:
        print(f"{error}. {REMEDY} pip brings one by itself.", file=sys.stderr)
        raise SystemExit(NO_COMPILER) from error
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise SystemExit(
            f"Farthing's library for CPUs, which is C++, could not be compiled: {error}. {REMEDY}"
        ) from error


if __name__ == "__main__":
    main(sys.argv[1:])
