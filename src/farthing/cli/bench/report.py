"""Renders a benchmark's results for people. The JSON line is made from the same objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from farthing.cli.bench.checks import LEAST_ELSEWHERE
from farthing.cli.bench.result import BenchResult
from farthing.core.sizes import mebibytes


def report_lines(result: BenchResult) -> Iterator[str]:
    header = ("workload", "texts", "tokens", "median ms", "tokens/s", "texts/s", "saved")
    rows = [
        (
            name,
            f"{found.texts:,}",
            f"{found.tokens:,}",
            f"{found.median_s * 1e3:,.1f}",
            f"{found.tokens_per_s:,.0f}",
            f"{found.texts_per_s:,.1f}",
            f"{found.saved_share:.0%}",
        )
        for name, found in result.workloads.items()
    ]
    yield from columns([header, *rows])
    yield f"loaded in {result.load_s:.2f} s, first vector after {result.first_vector_s:.2f} s"
    if result.peak_rss_bytes is not None and result.rss_bytes is not None:
        yield f"resident memory {mebibytes(result.rss_bytes)}, at its peak {mebibytes(result.peak_rss_bytes)}"
    if result.gemm_peak_gops is not None:
        yield peak_line(result, result.gemm_peak_gops)
    if result.cores_elsewhere is not None and result.cores_elsewhere >= LEAST_ELSEWHERE:
        yield (
            f"Other programs kept {result.cores_elsewhere:.1f} of the machine's {result.cpus} processors busy "
            "meanwhile, so these figures may be too low. Measure again while nothing else runs."
        )
    if any(found.stage_shares for found in result.workloads.values()):
        yield "share of the kernels' cycles:"
        yield from columns(stage_rows(result))


def peak_line(result: BenchResult, peak_gops: float) -> str:
    threads = "1 thread" if result.threads == 1 else f"{result.threads} threads"
    line = f"{result.format} peak {peak_gops:,.0f} GOP/s (registers, {threads}, {result.kernels})"
    if result.gemm_peak_share is None:
        return line
    measured = result.workloads["throughput"]
    return f"{line}; {measured.texts}x{measured.longest} reaches {result.gemm_peak_share:.0%}"


def stage_rows(result: BenchResult) -> list[tuple[str, ...]]:
    """Return a table with a row for each stage and a column for each workload."""
    shares = [found.stage_shares for found in result.workloads.values()]
    stages = dict.fromkeys(stage for found in shares for stage in found)
    return [
        ("stage", *result.workloads),
        *((stage, *(f"{found.get(stage, 0.0):.1%}" for found in shares)) for stage in stages),
    ]


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows as lines, the first column aligned to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        yield "  ".join((name.ljust(widths[0]), *numbers))
