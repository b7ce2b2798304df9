from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from farthing.cli.bench.command import bench
from farthing.cli.bench.report import report_lines
from farthing.cli.bench.result import BenchResult, WorkloadResult
from farthing.cli.bench.workloads import WORKLOADS
from farthing.core.errors import SettingsError


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Loading sets the threads of the whole process; the next test gets them back as they were."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def invoke(*args: object) -> Result:
    result = CliRunner().invoke(bench, [str(arg) for arg in (*args, "--device", "cpu")])
    assert result.exception is None, result.output
    return result


def found(*args: object) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(invoke(*args, "--json").stdout.splitlines()[-1])
    return facts


def test_the_json_line_has_every_figure(tiny_qwen3: Path) -> None:
    facts = found(tiny_qwen3, "--rounds", 2, "--format", "fp32")
    assert (facts["model"], facts["shape"], facts["format"]) == (str(tiny_qwen3), None, "fp32")
    assert set(facts["versions"]) == {"farthing", "numpy", "torch"}
    assert 0 < facts["load_s"] < facts["first_vector_s"]
    assert facts["threads"] >= 1
    assert facts["kernels"]
    assert facts["gemm_peak_gops"] > 0
    assert facts["gemm_peak_share"] > 0
    assert {name: (row["texts"], row["tokens"]) for name, row in facts["workloads"].items()} == {
        "latency": (1, 128),
        "throughput": (8, 1024),
        "mixed": (64, 16865),
    }
    for row in facts["workloads"].values():
        assert row["saved_share"] == 0
        assert len(row["runs_s"]) == 2
        assert row["tokens_per_s"] == pytest.approx(row["tokens"] / row["median_s"])
        assert row["texts_per_s"] == pytest.approx(row["texts"] / row["median_s"])
    if Path("/proc/self/status").is_file():
        assert facts["peak_rss_bytes"] >= facts["rss_bytes"] > 2**20


def test_int8_is_compared_with_the_peak_of_the_machine(tiny_qwen3: Path) -> None:
    result = invoke(tiny_qwen3, "--format", "int8", "--rounds", 1, "--workload", "throughput", "--json")
    facts = json.loads(result.stdout.splitlines()[-1])
    assert facts["gemm_peak_gops"] > 1
    assert 0 < facts["gemm_peak_share"] < 1
    assert f"8x128 reaches {facts['gemm_peak_share']:.0%}" in result.stdout


def test_the_table_has_a_row_a_workload_and_only_those_asked_for(tiny_qwen3: Path) -> None:
    shown = invoke(tiny_qwen3, "--workload", "mixed", "--workload", "latency", "--rounds", 1, "--format", "fp32")
    table = [line.split() for line in shown.stdout.splitlines()[:4]]
    assert table[0] == ["workload", "texts", "tokens", "median", "ms", "tokens/s", "texts/s", "saved"]
    assert [row[:3] for row in table[1:3]] == [["latency", "1", "128"], ["mixed", "64", "16,865"]]
    assert table[3][0] == "loaded"
    assert "{" not in shown.stdout


def test_a_short_context_cuts_the_texts_and_says_so(tiny_qwen3: Path) -> None:
    shown = invoke(tiny_qwen3, "--workload", "long", "--context-length", 64, "--format", "fp32", "--json")
    assert "Texts of up to 8192 tokens are cut to the context of 64." in shown.stderr
    (row,) = json.loads(shown.stdout.splitlines()[-1])["workloads"].values()
    assert (row["tokens"], len(row["runs_s"])) == (64, 1)


@pytest.mark.parametrize("workload", ["queries", "rerank", "rerank-short"])
def test_the_share_of_tokens_that_were_not_computed_is_shown(tiny_qwen3: Path, workload: str) -> None:
    options = (tiny_qwen3, "--workload", workload, "--rounds", 1, "--format", "fp32", "--share-prefixes")
    shared, alone = (found(*options, way)["workloads"][workload] for way in ("on", "off"))
    assert shared["tokens"] == alone["tokens"]
    assert alone["saved_share"] == 0
    # All but the first text of a batch save their beginning.
    beginning = WORKLOADS[workload].prefix_tokens * shared["texts"] / shared["tokens"]
    assert 0.9 * beginning < shared["saved_share"] < 1.05 * beginning


def test_a_shape_is_measured_with_weights_that_are_said_where_they_lie(tmp_path: Path) -> None:
    options = ("--cache-dir", tmp_path, "--workload", "latency", "--rounds", 1, "--json")
    shown = invoke("tiny", *options)
    assert f"Synthetic weights in {tmp_path / 'synthetic' / 'qwen3-tiny'}" in shown.stderr
    facts = json.loads(shown.stdout.splitlines()[-1])
    assert (facts["model"], facts["shape"]) == ("tiny", "qwen3-tiny")


def test_a_device_that_is_not_there_is_refused_before_weights_are_made(tmp_path: Path) -> None:
    result = CliRunner().invoke(bench, ["tiny", "--device", "tpu", "--cache-dir", str(tmp_path)])
    assert isinstance(result.exception, SettingsError)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_workload_names_those_there_are() -> None:
    result = CliRunner().invoke(bench, ["tiny", "--workload", "fast"])
    assert (result.exit_code, "'latency', 'throughput', 'mixed', 'long'" in result.stderr) == (2, True)


def result_of(**stage_shares: dict[str, float]) -> BenchResult:
    row = WorkloadResult(8, 1024, 0.25, 128, 1.25, 819.2, 6.4, (1.25,), {})
    return BenchResult(
        model="m",
        shape=None,
        format="int8",
        device="cpu",
        cpu="c",
        threads=2,
        kernels="avx2",
        versions={},
        date="2026-11-21",
        load_s=1.0,
        first_vector_s=2.0,
        peak_rss_bytes=3 * 2**20,
        rss_bytes=2**20,
        gemm_peak_gops=932.4,
        gemm_peak_share=0.804,
        cpus=2,
        cores_elsewhere=0.02,
        workloads={name: replace(row, stage_shares=shares) for name, shares in stage_shares.items()},
    )


def test_the_report_of_kernels_that_count_cycles_has_a_table_of_stages() -> None:
    assert list(report_lines(result_of(throughput={"qkv": 0.9, "wait": 0.1}, mixed={"qkv": 1.0}))) == [
        "workload    texts  tokens  median ms  tokens/s  texts/s  saved",
        "throughput      8   1,024    1,250.0       819      6.4    25%",
        "mixed           8   1,024    1,250.0       819      6.4    25%",
        "loaded in 1.00 s, first vector after 2.00 s",
        "resident memory 1 MiB, at its peak 3 MiB",
        "int8 peak 932 GOP/s (registers, 2 threads, avx2); 8x128 reaches 80%",
        "share of the kernels' cycles:",
        "stage  throughput   mixed",
        "qkv         90.0%  100.0%",
        "wait        10.0%    0.0%",
    ]


@pytest.mark.parametrize("shares", ["on", "off"])
def test_all_tokens_are_computed_in_every_round(tiny_qwen3: Path, shares: str) -> None:
    """From the third round on, beginnings were held of texts that came again, and counted as computed."""
    options = ("--workload", "throughput", "--rounds", 6, "--format", "fp32", "--share-prefixes", shares)
    assert found(tiny_qwen3, *options)["workloads"]["throughput"]["saved_share"] == 0


def test_the_report_says_when_other_programs_took_the_processor() -> None:
    assert not any("Other programs" in line for line in report_lines(result_of(throughput={})))
    assert not any(
        "Other programs" in line for line in report_lines(replace(result_of(throughput={}), cores_elsewhere=None))
    )
    busy = replace(result_of(throughput={}), cores_elsewhere=1.34)
    assert list(report_lines(busy))[-1] == (
        "Other programs kept 1.3 of the machine's 2 processors busy meanwhile, so these figures may be too low. "
        "Measure again while nothing else runs."
    )


def test_the_report_says_when_a_figure_is_missing() -> None:
    bare = replace(result_of(latency={}), peak_rss_bytes=None, rss_bytes=None, gemm_peak_share=None)
    assert list(report_lines(bare))[2:] == [
        "loaded in 1.00 s, first vector after 2.00 s",
        "int8 peak 932 GOP/s (registers, 2 threads, avx2)",
    ]
    without_kernels = replace(bare, gemm_peak_gops=None, kernels=None)
    assert len(list(report_lines(without_kernels))) == 3
