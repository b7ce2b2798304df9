"""What a card does with every format and residency, in one command; planned to take ten minutes on an H200.

python benchmarks/gpu.py [--sections peak,speed,peers,small,streaming,closeness] [--cache DIR] [--small]

Synthetic weights of the true shapes are written to DIR (some 25 GB, default ~/.cache/farthing) and kept. Each section
runs in a process of its own, and its rows are printed as they come; a case that fails says so, and the exit status is
then 1. What is expected of a card follows with its figures, and one JSON line with all. --small runs the same code
on the CPU with tiny shapes: its figures mean nothing, and are held against nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import torch

from farthing.engine.cards.facts import gpu_kernels
from farthing.engine.plan.device import device_facts
from gpu_parts.expected import expectation_lines
from gpu_parts.memory import small
from gpu_parts.products import peak
from gpu_parts.setting import Case, Figures, Setting, clean_up, full_setting, small_setting
from gpu_parts.speed import closeness, peers, speed, streaming
from report import facts, table

SECTIONS: dict[str, Callable[[Setting], Iterator[Case]]] = {
    "peak": peak,
    "speed": speed,
    "peers": peers,
    "small": small,
    "streaming": streaming,
    "closeness": closeness,
}
CHILD = "--child"
SECTION_TIMEOUT_S = 300


def make_setting(is_small: bool, cache: str | None) -> Setting:
    return small_setting(cache) if is_small else full_setting(cache)


def run_section(name: str, setting: Setting) -> Iterator[tuple[str, Figures]]:
    """Each case's figures; {"error": ...} for one that failed."""
    for case in SECTIONS[name](setting):
        try:
            figures = case.run()
        except Exception as error:  # noqa: BLE001 - the next case may still say something
            lines = str(error).strip().splitlines() or [""]
            figures = {"error": f"{type(error).__name__}: {lines[0]}"}
        clean_up(setting)
        yield case.name, figures


def child(name: str, is_small: bool, cache: str | None) -> None:
    for case, figures in run_section(name, make_setting(is_small, cache)):
        print(json.dumps([case, figures]), flush=True)


def in_process(name: str, options: argparse.Namespace) -> Iterator[tuple[str, Figures]]:
    """A section's rows as they come; one more where the process ended badly or took too long."""
    command = [sys.executable, __file__, CHILD, name, *(["--small"] if options.small else [])]
    command += ["--cache", options.cache] if options.cache else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    timer = threading.Timer(SECTION_TIMEOUT_S, process.kill)
    timer.start()
    for line in process.stdout:
        case, figures = json.loads(line)
        yield case, figures
    timer.cancel()
    if process.wait():
        yield "(the section)", {"error": f"ended with exit code {process.returncode}"}


def card_facts(is_small: bool) -> dict[str, object]:
    about = facts(["numpy", "farthing"])
    if is_small:
        return {**about, "card": None}
    command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader", "-i", "0"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return {
        **about,
        "card": torch.cuda.get_device_name(0),
        "capability": torch.cuda.get_device_capability(0),
        "nvidia_smi": shown,
        "cuda": torch.version.cuda,
        "gpu_kernels": gpu_kernels(device_facts("cuda:0")),
    }


def cells(figures: Figures) -> str:
    shown = {name: f"{value:,.4g}" if isinstance(value, float) else value for name, value in figures.items()}
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sections", default=",".join(SECTIONS), help="comma-separated (default: all)")
    parser.add_argument("--cache", help="folder for the synthetic weights")
    parser.add_argument("--small", action="store_true", help="tiny shapes on the CPU")
    parser.add_argument(CHILD, choices=SECTIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.small, options.cache)
        return 0
    names = options.sections.split(",")
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        parser.error(f"unknown sections: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    if not options.small and not torch.cuda.is_available():
        parser.error("no NVIDIA card here; --small runs the same code on the CPU")
    make_setting(options.small, options.cache)  # the weights, before a section's time counts
    rows: dict[str, Figures] = {}
    print(table(["section", "case", "figures"], []), flush=True)
    for name in names:
        for case, figures in in_process(name, options):
            rows[f"{name} / {case}"] = figures
            print(f"| {name} | {case} | {cells(figures)} |", flush=True)
    if not options.small:
        print("\n" + "\n".join(expectation_lines(rows)))
    print(json.dumps({**card_facts(options.small), "benchmark": "gpu", "small": options.small, "rows": rows}))
    return int(any("error" in figures for figures in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
