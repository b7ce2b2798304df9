"""How large an installation is: a new virtual environment with some of the extras, and its largest packages.

    python benchmarks/install_size.py [--extras server] [--limit-mb 170]

In: this checkout, built and installed as a wheel with the versions of constraints.txt. Out: a table of the largest
packages, and one JSON line. pip and setuptools do not count, as both are there to install. With --limit-mb the exit
status is 1 where everything together takes more.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
INSTALLERS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")
MOST_SHOWN = 15
MB = 10**6


def install(folder: Path, extras: str) -> Path:
    """Make the environment, and return the folder of its packages."""
    subprocess.run(["sh", ROOT / "tools/make_venv.sh", sys.executable, folder], check=True)
    command = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    what = f"{ROOT}[{extras}]" if extras else str(ROOT)
    subprocess.run([*command, "--constraint", str(ROOT / "constraints.txt"), what], check=True)
    return Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))


def sizes(packages: Path) -> Counter[str]:
    """The bytes on disk of each package, with its metadata and the libraries that its wheel carries."""
    found: Counter[str] = Counter()
    for path in packages.iterdir():
        name = path.name.partition("-")[0].removesuffix(".libs").lower()
        if path.name.startswith(INSTALLERS) or name in INSTALLERS or name == "__pycache__":
            continue
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        # In blocks, as a disk has them: many small files take more than their bytes.
        found[name] += sum(512 * file.lstat().st_blocks for file in files)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--extras", default="server", help="with commas in between; empty for none")
    parser.add_argument("--limit-mb", type=float)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = sizes(install(Path(folder) / "venv", arguments.extras))
    total = found.total()
    print("| package | MB |\n| --- | --- |")
    for name, num_bytes in found.most_common(MOST_SHOWN):
        print(f"| {name} | {num_bytes / MB:.1f} |")
    rest = total - sum(num_bytes for _, num_bytes in found.most_common(MOST_SHOWN))
    print(f"| {max(0, len(found) - MOST_SHOWN)} others | {rest / MB:.1f} |\n| all | {total / MB:.1f} |")
    facts = {"date": date.today().isoformat(), "benchmark": "install_size", "python": platform.python_version()}
    largest = dict(found.most_common(MOST_SHOWN))
    print(json.dumps({**facts, "extras": arguments.extras, "total_bytes": total, "largest_bytes": largest}))
    if arguments.limit_mb is not None and total > arguments.limit_mb * MB:
        sys.exit(f"The installation takes {total / MB:.1f} MB; the limit is {arguments.limit_mb:g} MB.")


if __name__ == "__main__":
    main()
