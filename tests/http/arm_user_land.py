"""An ARM user land on a machine with another CPU: Debian's Python for arm64, the wheels that farthing needs, and an
emulator (qemu-user) that runs them.

Packages come from where apt and pip of this machine get theirs, and are kept in ~/.cache/farthing-arm. What cannot
be had is a `NotHereError`, which says why.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
KEPT = Path("~/.cache/farthing-arm").expanduser()
TRIPLE = "aarch64-linux-gnu.2.17"
DEBIAN_PACKAGES = ("python3", "libstdc++6")  # numpy's wheel does not bring the C++ library
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64")
# As a machine's own apt, but for another CPU, in folders of its own, where nothing is installed yet. Hooks are for the
# machine itself.
APT_SETTINGS = """
#clear APT::Architectures;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
APT::Architecture "arm64";
APT::Architectures:: "arm64";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "2";
Debug::NoLocking "true";
Dir::State "{folder}/state";
Dir::State::status "{folder}/state/status";
Dir::Cache "{folder}/cache";
"""
MINUTES = 60


class NotHereError(Exception):
    """An ARM user land cannot be made on this machine."""


@dataclass(frozen=True)
class UserLand:
    """Programs in Python that an emulated CPU runs.

    Attributes:
        system: what would be / there.
        packages: folders of Python packages.
        place: the working directory, and the home.
    """

    emulator: str
    system: Path
    packages: tuple[Path, ...]
    place: Path

    def command(self, *arguments: object) -> list[str]:
        return [self.emulator, str(python_of(self.system)), *map(str, arguments)]

    def environment(self, cpu: str, **more: object) -> dict[str, str]:
        """`cpu` is one of the emulator's. Files are first looked for below `system`."""
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.place),
            "LANG": "C.UTF-8",
            "QEMU_CPU": cpu,
            "QEMU_LD_PREFIX": str(self.system),
            "PYTHONHOME": str(self.system / "usr"),
            "PYTHONPATH": os.pathsep.join(map(str, self.packages)),
            **{name: str(value) for name, value in more.items()},
        }


def make_user_land(place: Path) -> UserLand:
    """One with this checkout's wheel, made in `place`. Raises `NotHereError`, and `CalledProcessError` where the wheel
    cannot be made."""
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if emulator is None:
        raise NotHereError("there is no qemu-aarch64 (Debian: qemu-user)")
    system = kept("system", "\n".join(DEBIAN_PACKAGES) + APT_SETTINGS, unpack_debian)
    wheel = make_wheel(place)
    version = python_of(system).name.removeprefix("python")
    product = place / "product"
    pip_install(product, version, "--no-deps", wheel)
    requirements = requirements_of(product, version)
    constraints = ROOT / "constraints.txt"
    described = "\n".join([version, *PLATFORMS, *requirements, constraints.read_text()])
    needed = kept(
        "packages", described, lambda folder: pip_install(folder, version, "--constraint", constraints, *requirements)
    )
    return UserLand(emulator, system, (product, needed), place)


def make_wheel(place: Path) -> Path:
    pinned = ROOT / "tools" / "requirements-wheels.txt"
    tools = kept(
        "tools", sys.version + pinned.read_text(), lambda folder: pip("--target", folder, "--requirement", pinned)
    )
    command = [sys.executable, ROOT / "tools" / "make_wheels.py", place / "wheels", TRIPLE]
    environment = {**os.environ, "PYTHONPATH": str(tools)}
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=True, timeout=15 * MINUTES)
    (wheel,) = (place / "wheels").glob("*.whl")
    return wheel


def requirements_of(product: Path, version: str) -> list[str]:
    """What farthing[server] requires on that version of Python."""
    (farthing,) = distributions(name="farthing", path=[str(product)])
    there = {"extra": "server", "python_version": version, "sys_platform": "linux"}
    needed = [Requirement(line) for line in farthing.requires or ()]
    return [f"{one.name}{one.specifier}" for one in needed if one.marker is None or one.marker.evaluate(there)]


def pip_install(folder: Path, version: str, *arguments: object) -> None:
    platforms = [argument for platform in PLATFORMS for argument in ("--platform", platform)]
    binary = ["--only-binary=:all:", "--implementation", "cp", "--python-version", version]
    pip("--target", folder, "--no-compile", *platforms, *binary, *arguments)


def pip(*arguments: object) -> None:
    fetch([sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *arguments])


def unpack_debian(folder: Path) -> None:
    """Packages and what they depend on, downloaded and unpacked; none of their scripts runs."""
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        raise NotHereError("there are no apt-get and dpkg-deb, by which Debian's packages come")
    with tempfile.TemporaryDirectory() as scratch:
        apt = Path(scratch)
        for name in ("state/lists/partial", "cache/archives/partial"):
            (apt / name).mkdir(parents=True)
        (apt / "state" / "status").touch()
        settings = apt / "apt.conf"
        settings.write_text(APT_SETTINGS.format(folder=apt))
        fetch(["apt-get", "-c", settings, "-qq", "update"])
        fetch(["apt-get", "-c", settings, "-qq", "-y", "--download-only", "install", *DEBIAN_PACKAGES])
        for package in sorted((apt / "cache" / "archives").glob("*.deb")):
            fetch(["dpkg-deb", "--extract", package, folder])
    for name in ("lib", "bin"):  # links that newer Debians have in a package of their own
        if not (folder / name).exists():
            (folder / name).symlink_to(f"usr/{name}")


def fetch(command: Sequence[object]) -> None:
    """Run a program that downloads. Raises `NotHereError` where it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10 * MINUTES)
    except subprocess.TimeoutExpired as error:
        raise NotHereError(f"{' '.join(words)} did not end") from error
    if done.returncode != 0:
        raise NotHereError(f"{' '.join(words)}: {done.stderr.strip()[-500:]}")


def kept(name: str, described: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` filled, now or when there was one of the same description before."""
    folder = KEPT / f"{name}-{hashlib.sha256(described.encode()).hexdigest()[:12]}"
    if not folder.is_dir():
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
            made = Path(scratch, "made")
            made.mkdir()
            make(made)
            with suppress(FileExistsError):  # another process was faster
                made.rename(folder)
    return folder


def python_of(system: Path) -> Path:
    """Debian's interpreter, such as python3.11."""
    return (system / "usr" / "bin" / "python3").resolve()
