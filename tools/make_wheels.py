"""Make the wheels of all platforms on this machine, and the sdist, and check what is in them.

    python tools/make_wheels.py DIRECTORY [TRIPLE ...]      the triples of native/wheel_targets.py; without any, all

Needs tools/requirements-wheels.txt; `make wheels` sees to that. A wheel passes when its tag is the platform's, the
library inside is for that system and machine, shows `ft_*` and nothing else, and wants no glibc newer than the tag.
Wheels for platforms that have not been tested are made, and called untested.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "native"))

from build_native import LIBRARY_NAMES  # noqa: E402
from wheel_targets import TARGETS, Target  # noqa: E402

HATCHLING = [sys.executable, "-m", "hatchling", "build"]
FOLDER_INSIDE = "farthing/quant/native/lib/"
ELF_MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}
# What files of the other systems begin with: Mach-O of 64 bits, with its CPU type, and MZ.
BEGINNINGS = {
    ("darwin", "aarch64"): bytes.fromhex("cffaedfe0c000001"),
    ("darwin", "x86_64"): bytes.fromhex("cffaedfe07000001"),
    ("windows", "x86_64"): b"MZ",
}
SYSTEM_LIBRARIES = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libc.so"}


class WheelError(Exception):
    """A wheel is not what its name says."""


@dataclass(frozen=True)
class Elf:
    """What matters of a shared library for Linux."""

    machine: str
    needed: frozenset[str]
    exported: frozenset[str]
    newest_glibc: tuple[int, ...]


def read_elf(path: Path) -> Elf:
    with path.open("rb") as file:
        elf = ELFFile(file)
        needed: set[str] = set()
        glibc: list[tuple[int, ...]] = [()]
        for section in elf.iter_sections():
            if isinstance(section, DynamicSection):
                needed |= {tag.needed for tag in section.iter_tags("DT_NEEDED")}
            if isinstance(section, GNUVerNeedSection):
                for _, versions in section.iter_versions():
                    for version in versions:
                        if found := re.fullmatch(r"GLIBC_([0-9.]+)", version.name):
                            glibc.append(tuple(int(part) for part in found[1].split(".")))
        symbols = elf.get_section_by_name(".dynsym").iter_symbols()
        exported = {s.name for s in symbols if s.name and s["st_shndx"] != "SHN_UNDEF"}
        return Elf(elf["e_machine"], frozenset(needed), frozenset(exported), max(glibc))


def build_wheel(target: Target, directory: Path) -> Path:
    environment = {**os.environ, "FARTHING_WHEEL_TARGET": target.triple}
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([*HATCHLING, "-t", "wheel", "-d", scratch], cwd=ROOT, env=environment, check=True)
        (made,) = Path(scratch).glob("*.whl")
        if not made.name.endswith(f"-py3-none-{target.tag}.whl"):
            raise WheelError(f"for {target.triple}, {made.name} was made, and not one for {target.tag}")
        return Path(shutil.copy(made, directory))


def check_wheel(wheel: Path, target: Target, scratch: Path) -> None:
    compiler = target.compiler
    with zipfile.ZipFile(wheel) as archive:
        inside = [name for name in archive.namelist() if name.startswith(FOLDER_INSIDE)]
        expected = FOLDER_INSIDE + LIBRARY_NAMES[compiler.system]
        if inside != [expected]:
            raise WheelError(f"{wheel.name} has {inside} in {FOLDER_INSIDE}, not {expected} alone")
        library = Path(archive.extract(expected, scratch))
    if compiler.system == "linux":
        check_elf(read_elf(library), target, wheel.name)
    elif not library.read_bytes().startswith(BEGINNINGS[compiler.system, compiler.machine]):
        raise WheelError(f"{wheel.name}: the library is not one for {compiler.system} on {compiler.machine}")


def check_elf(elf: Elf, target: Target, name: str) -> None:
    if elf.machine != ELF_MACHINES[target.compiler.machine]:
        raise WheelError(f"{name}: the library is for {elf.machine}")
    unknown = {library for library in elf.needed - SYSTEM_LIBRARIES if not library.startswith("ld-linux")}
    if unknown:
        raise WheelError(f"{name}: the library needs {sorted(unknown)}, which not every system has")
    leaked = sorted(symbol for symbol in elf.exported if not symbol.startswith("ft_"))
    if leaked or "ft_pool_create" not in elf.exported:
        raise WheelError(f"{name}: the library exports {leaked or 'no ft_pool_create'}")
    promised = re.match(r"manylinux_(\d+)_(\d+)_", target.tag)
    if promised and elf.newest_glibc > tuple(int(part) for part in promised.groups()):
        raise WheelError(f"{name}: the library needs glibc {'.'.join(map(str, elf.newest_glibc))}")
    if not promised and elf.newest_glibc:
        raise WheelError(f"{name}: the library needs glibc, and the wheel is for musl")


def main(directory: Path, triples: list[str]) -> None:
    unknown = set(triples) - {target.triple for target in TARGETS}
    if unknown:
        raise SystemExit(
            f"no such platform: {', '.join(sorted(unknown))}; there are {', '.join(t.triple for t in TARGETS)}"
        )
    directory.mkdir(parents=True, exist_ok=True)
    for target in TARGETS:
        if triples and target.triple not in triples:
            continue
        wheel = build_wheel(target, directory)
        with tempfile.TemporaryDirectory() as scratch:
            check_wheel(wheel, target, Path(scratch))
        print(
            f"{wheel.name}  {wheel.stat().st_size / 1e6:.1f} MB{'' if target.is_tested else '  untested'}", flush=True
        )
    if not triples:
        subprocess.run([*HATCHLING, "-t", "sdist", "-d", str(directory)], cwd=ROOT, check=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
