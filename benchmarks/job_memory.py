"""Do the commands that make vectors stay inside the memory that they are told?

python benchmarks/job_memory.py [MODEL] [--memory 450MB] [--texts 1500]

Each of embed, dedup, cluster, index add and search runs with --memory in a control group of that size: the kernel
ends what goes over (the pages of files count there, and are taken back when room is needed). Texts are new in every
run. One table and one JSON line. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from farthing.core.sizes import parse_bytes
from hard_limit import control_group
from report import facts, table

WATCH_S = 0.02
WORDS_FROM = Path(__file__).parent.parent / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="starter")
    parser.add_argument("--memory", default="450MB")
    parser.add_argument("--texts", type=int, default=1500)
    arguments = parser.parse_args()
    limit_bytes = parse_bytes(arguments.memory)
    assert limit_bytes is not None
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_texts(place / "texts.jsonl", arguments.texts)
        farthing = [sys.executable, "-m", "farthing"]
        run([*farthing, "index", "create", "index", "--model", arguments.model], place, None)
        memory, model = ["--memory", arguments.memory], ["--model", arguments.model]
        commands = {
            "embed": ["embed", arguments.model, "texts.jsonl", "-o", "vectors.npy", *memory],
            "dedup": ["dedup", "texts.jsonl", *model, *memory],
            "cluster": ["cluster", "texts.jsonl", *model, "-o", "clusters", *memory],
            "index add": ["index", "add", "index", "texts.jsonl", str(WORDS_FROM), *memory],
            "search": ["search", "index", "what happens when memory runs short?", *memory],
        }
        rows = [
            {"command": name} | run([*farthing, *command], place, limit_bytes) for name, command in commands.items()
        ]
    shown = [
        [str(row["command"]), str(row["ended"]), f"{row['anon_mib']:.0f}", f"{row['seconds']:.1f}"] for row in rows
    ]
    print(f"{arguments.model}, --memory {arguments.memory} ({limit_bytes / 2**20:.0f} MiB)")
    print(table(["command", "ended", "own memory at most, MiB", "s"], shown))
    print(
        json.dumps(facts(["numpy", "lancedb"]) | {"model": arguments.model, "memory": arguments.memory, "rows": rows})
    )


def write_texts(path: Path, count: int) -> None:
    words = " ".join(file.read_text() for file in sorted(WORDS_FROM.glob("*.md"))[:8]).split()
    chance = random.Random(time.time_ns())
    with path.open("w") as file:
        for number in range(count):
            file.write(
                json.dumps({"id": number, "text": " ".join(chance.choices(words, k=chance.randint(20, 140)))}) + "\n"
            )


def run(command: list[str], folder: Path, limit_bytes: int | None) -> dict[str, object]:
    """How it ended, its private memory with that of its children at most, and the time it took."""
    if limit_bytes is None:
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return {}
    started, most = time.monotonic(), 0
    with control_group(limit_bytes) as group:
        assert group is not None, "no control group can be made here"
        enter = f'echo $$ > {group[0] / "cgroup.procs"}; exec "$@"'
        with (folder / "errors").open("w") as errors:
            process = subprocess.Popen(
                ["sh", "-c", enter, "sh", *command], cwd=folder, stdout=subprocess.DEVNULL, stderr=errors
            )
            while process.poll() is None:
                most = max(most, sum(map(anon_bytes, group_pids(group[0]))))
                time.sleep(WATCH_S)
    ended = {0: "well", -9: "killed"}.get(process.returncode, f"with {process.returncode}")
    if process.returncode:
        print((folder / "errors").read_text()[-500:], file=sys.stderr)
    return {"ended": ended, "anon_mib": most / 2**20, "seconds": time.monotonic() - started}


def group_pids(group: Path) -> list[int]:
    return [int(line) for line in (group / "cgroup.procs").read_text().split()]


def anon_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
