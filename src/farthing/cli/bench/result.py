"""The results of a benchmark in numbers.

In: runs and a model. Out: frozen results, which `farthing.cli.bench.report` renders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from farthing.cli.bench.measure import Task
from farthing.core.deferred import dataclass
from farthing.engine.plan.cgroup import read_lines
from farthing.engine.weights.load import LoadedModel


@dataclass(frozen=True)
class WorkloadResult:
    """
    Attributes:
        tokens: tokens of all texts; tokens that texts share count in each of them.
        saved_share: share of these tokens that were not computed, because texts of a batch share them.
        longest: tokens of the longest text.
        stage_shares: each stage's share of the native kernels' cycles; empty unless built with -DFT_PROFILE.
    """

    texts: int
    tokens: int
    saved_share: float
    longest: int
    median_s: float
    tokens_per_s: float
    texts_per_s: float
    runs_s: tuple[float, ...]
    stage_shares: Mapping[str, float]


@dataclass(frozen=True)
class BenchResult:
    """
    Attributes:
        model: the name that was asked for.
        shape: name of the shape where the weights are synthetic, else None.
        kernels: instruction set of the native kernels, where the model runs on them.
        load_s, first_vector_s: see `farthing.cli.bench.measure.MeasuredEngine`.
        peak_rss_bytes, rss_bytes: resident memory of this process, with mapped files; None where it is not known.
        gemm_peak_gops: 10^9 operations/s that all threads together reach from registers; None without kernels.
        gemm_peak_share: share of this peak that `throughput` reaches, by `matrix_operations` in its whole time; None
            without kernels or that workload.
        cpus: processors of the machine; each hyperthread counts.
        cores_elsewhere: cores that other processes kept busy while runs were timed, on average; None where it is not
            known.
    """

    model: str
    shape: str | None
    format: str
    device: str
    cpu: str
    threads: int
    kernels: str | None
    versions: Mapping[str, str]
    date: str
    load_s: float
    first_vector_s: float
    peak_rss_bytes: int | None
    rss_bytes: int | None
    gemm_peak_gops: float | None
    gemm_peak_share: float | None
    cpus: int | None
    cores_elsewhere: float | None
    workloads: Mapping[str, WorkloadResult]


def workload_result(task: Task) -> WorkloadResult:
    lengths, seconds = task.lengths, median(task.seconds)
    counted = sum(task.cycles.values())
    return WorkloadResult(
        texts=len(lengths),
        tokens=sum(lengths),
        saved_share=1 - task.num_computed_tokens / (sum(lengths) * len(task.seconds)),
        longest=max(lengths),
        median_s=seconds,
        tokens_per_s=sum(lengths) / seconds,
        texts_per_s=len(lengths) / seconds,
        runs_s=tuple(task.seconds),
        stage_shares={stage: cycles / counted for stage, cycles in task.cycles.items()} if counted else {},
    )


def matrix_operations(model: LoadedModel, lengths: Sequence[int]) -> int:
    """Return how many multiplications and additions the layers' matrix products need for texts of these lengths.

    The last layer needs keys and values of all tokens, but everything else only of rows that become vectors. A pass
    that computes more gets no credit for it.
    """
    layout, num_tokens = model.description.layout, sum(lengths)
    num_rows = num_tokens if model.embedding.pooling == "mean" else len(lengths)
    a_token = sum(2 * sum(part.out_features) * part.in_features for part in layout.matrices)
    qkv = next(part for part in layout.matrices if part.name == "qkv")
    keys_values = 2 * sum(qkv.out_features[1:]) * qkv.in_features
    last = keys_values * num_tokens + (a_token - keys_values) * num_rows
    return (layout.num_layers - 1) * a_token * num_tokens + last


def resident_bytes() -> tuple[int | None, int | None]:
    """Return this process's resident memory as (peak, now); None where there is no /proc.

    `getrusage` is no use here: its ru_maxrss starts from that of the process which started this one.
    """
    lines = [line.split() for line in read_lines(Path("/proc/self/status"))]
    sizes = {words[0]: int(words[1]) * 1024 for words in lines if words[0] in ("VmHWM:", "VmRSS:")}
    return sizes.get("VmHWM:"), sizes.get("VmRSS:")
