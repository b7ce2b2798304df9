"""What every benchmark prints: a table, and one JSON line with all that is needed to read it later."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from statistics import median

from farthing.cli.bench.checks import LEAST_ELSEWHERE, Meter
from farthing.engine.plan.cpu import cpu_name
from farthing.engine.plan.device import device_facts


def facts(packages: Sequence[str]) -> dict[str, object]:
    """Where and with what: date, commit, command, processor, versions."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "date": date.today().isoformat(),
        "commit": commit.stdout.strip(),
        "command": "python " + " ".join(sys.argv),
        "cpu": cpu_name(),
        "threads": device_facts("cpu").num_threads,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def beside(meter: Meter) -> dict[str, float]:
    """For the JSON line: how many cores other programs kept busy since then; said on standard error where it counts."""
    elsewhere = meter.cores_elsewhere()
    if elsewhere is None:
        return {}
    if elsewhere >= LEAST_ELSEWHERE:
        print(f"Other programs kept {elsewhere:.1f} processors busy meanwhile: measure again.", file=sys.stderr)
    return {"cores_elsewhere": round(elsewhere, 2)}


def fastest(ways: Iterable[str], rounds: Sequence[Callable[[str], float]], num_kept: int = 3) -> str:
    """Which of the ways takes the fewest seconds: all are tried in the first round, the best of them in the others."""
    seconds: dict[str, float] = {}
    tried = list(ways)
    for run in rounds:
        for way in tried:
            seconds[way] = min(run(way), seconds.get(way, float("inf")))
        tried = sorted(seconds, key=seconds.__getitem__)[:num_kept]
    return tried[0]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def json_line(facts: Mapping[str, object], seconds: Mapping[str, Sequence[float]], **more: object) -> str:
    runs = {name: [float(f"{value:.4g}") for value in values] for name, values in seconds.items()}
    medians = {name: float(f"{median(values):.4g}") for name, values in seconds.items()}
    return json.dumps({**facts, **more, "median_s": medians, "runs_s": runs})
