"""What every benchmark prints: a table, and one JSON line with all that is needed to read it later."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from statistics import median

import torch

from farthing.engine.cpu import cpu_name


def facts(packages: Sequence[str]) -> dict[str, object]:
    """Where and with what: date, commit, command, processor, versions."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "date": date.today().isoformat(),
        "commit": commit.stdout.strip(),
        "command": "python " + " ".join(sys.argv),
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def json_line(facts: Mapping[str, object], seconds: Mapping[str, Sequence[float]], **more: object) -> str:
    runs = {name: [float(f"{value:.4g}") for value in values] for name, values in seconds.items()}
    medians = {name: float(f"{median(values):.4g}") for name, values in seconds.items()}
    return json.dumps({**facts, **more, "median_s": medians, "runs_s": runs})
