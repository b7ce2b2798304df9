from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from click.testing import CliRunner, Result
from processes import end_at_once
from pyarrow import parquet

from farthing.cli.cluster import cluster, fitting_layout
from farthing.cli.common import data_options
from farthing.cli.embed import embed
from farthing.core.errors import (
    DoesNotFitError,
    EmptyInputError,
    EngineError,
    InputError,
    ModelNotFoundError,
    SettingsError,
)

TEXTS = [*(f"where is my refund {number}" for number in "abcdef"), *(f"change the PIN {number}" for number in "abcdef")]


def invoke(*args: object, input: str | None = None) -> Result:
    return CliRunner().invoke(cluster, list(map(str, args)), input=input)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    """Twelve texts of two kinds, and their vectors."""
    (tmp_path / "in.jsonl").write_text(
        "\n".join(json.dumps({"id": index, "text": text}) for index, text in enumerate(TEXTS))
    )
    random = np.random.default_rng(0)
    vectors = np.eye(2, 8).repeat(6, axis=0) + 0.05 * random.standard_normal((12, 8))
    np.save(tmp_path / "v.npy", vectors)
    return tmp_path / "in.jsonl", tmp_path / "v.npy"


def test_clusters_are_shown_and_written(made: tuple[Path, Path], tmp_path: Path) -> None:
    result = invoke(made[0], "--vectors", made[1], "-o", tmp_path / "out")
    assert result.exception is None, result.output
    shown = result.stdout.splitlines()
    assert (
        sorted("PIN" in line for line in shown[:2]) == sorted("refund" in line for line in shown[:2]) == [False, True]
    )
    assert shown[2].startswith("12 texts in 2 clusters; 0 (0%) in none.")
    assert shown[3].startswith("Wrote map.html, records.jsonl")
    records = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert [record["id"] for record in records] == list(range(12))
    assert len({record["cluster"] for record in records[:6]}) == 1
    assert records[0]["cluster"] != records[6]["cluster"]


def test_a_model_makes_the_vectors_of_any_input(tiny_qwen3: Path, tmp_path: Path) -> None:
    asked = ["-", "--model", tiny_qwen3, "-o", tmp_path / "out", "--layout", "pca", "--tables", "jsonl", "--progress"]
    result = invoke(*asked, input="\n".join(TEXTS))
    assert result.exception is None, result.output
    assert len((tmp_path / "out" / "records.jsonl").read_text().splitlines()) == 12
    assert not (tmp_path / "out" / "records.parquet").exists()
    assert "Labels" in result.stderr


def test_bad_records_are_left_out_with_a_model_and_with_vectors_that_it_made(tiny_qwen3: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"id": index, "text": text}) for index, text in enumerate(TEXTS)]
    lines.insert(3, '{"id": 90, "text"')
    lines.insert(7, '{"id": 91, "text": ""}')
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    embedded = CliRunner().invoke(embed, [str(tiny_qwen3), str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "v.npy")])
    assert embedded.exception is None, embedded.output
    for number, made_by in enumerate((("--model", tiny_qwen3), ("--vectors", tmp_path / "v.npy"))):
        out = tmp_path / f"out{number}"
        result = invoke(tmp_path / "in.jsonl", *made_by, "-o", out, "--layout", "pca")
        assert result.exception is None, result.output
        records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
        assert [record["id"] for record in records] == list(range(12))
        assert "Left out: Line 4 of in.jsonl is not valid JSON" in result.stderr
        assert "Left out: Line 8 of in.jsonl has " in result.stderr
        strict = invoke(tmp_path / "in.jsonl", *made_by, "-o", tmp_path / "strict", "--strict")
        assert isinstance(strict.exception, InputError)


def test_bytes_that_nobody_asked_for_are_in_nobody_s_way(made: tuple[Path, Path], tmp_path: Path) -> None:
    images = [{"bytes": b"\x89PNG", "path": "a.png"}] * 12
    parquet.write_table(pyarrow.table({"text": TEXTS, "image": images}), tmp_path / "in.parquet")
    both = invoke(tmp_path / "in.parquet", "--vectors", made[1], "-o", tmp_path / "both")
    assert isinstance(both.exception, InputError)
    assert "--tables parquet" in str(both.exception)
    result = invoke(
        tmp_path / "in.parquet", "--vectors", made[1], "-o", tmp_path / "o", "--tables", "parquet", "--layout", "pca"
    )
    assert result.exception is None, result.output
    assert parquet.read_table(tmp_path / "o" / "records.parquet")["image"][0].as_py()["bytes"] == b"\x89PNG"


def test_the_folder_is_named_after_the_input(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(made[0], "--vectors", made[1], "--layout", "pca").exception is None
    assert (tmp_path / "in-clusters" / "map.html").is_file()
    again = invoke(made[0], "--vectors", made[1])
    assert isinstance(again.exception, SettingsError)
    assert "--overwrite" in str(again.exception)
    assert invoke(made[0], "--vectors", made[1], "--layout", "pca", "--overwrite").exception is None


def test_where_no_cluster_is_found_the_remedy_is_said(made: tuple[Path, Path], tmp_path: Path) -> None:
    result = invoke(made[0], "--vectors", made[1], "-o", tmp_path / "out", "--min-cluster-size", 13)
    assert result.exception is None, result.output
    assert "12 texts in 0 clusters; 12 (100%) in none." in result.stdout
    assert "a smaller --min-cluster-size may find some." in result.stdout
    asked = [made[0], "--vectors", made[1], "-o", tmp_path / "surer", "--min-cluster-size", 13, "--min-samples", 3]
    assert "a smaller --min-cluster-size or --min-samples may find some." in invoke(*asked).stdout


def test_equal_texts_are_one_cluster(tiny_qwen3: Path, tmp_path: Path) -> None:
    asked = ["-", "--model", tiny_qwen3, "-o", tmp_path / "out", "--tables", "jsonl"]
    result = invoke(*asked, input="where is my refund\n" * 60)
    assert result.exception is None, result.output
    assert "60 texts in 1 cluster; 0 (0%) in none." in result.stdout


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", EmptyInputError, "in.jsonl is empty"),
        (b'{"text": "a"}\n{"text": 7}', InputError, "Line 2 of in.jsonl: the field 'text' is of type int"),
        (b'{"text": "a"}\n{"txt": "b"}', InputError, "Line 2 of in.jsonl has no field 'text'; its fields are 'txt'"),
        (b'{"text": "a"}\n{"text": ', InputError, "Line 2 of in.jsonl is not valid JSON"),
        (b'{"text": "a"}\n{"text": "\xe9"}', InputError, "Line 2 of in.jsonl is not UTF-8"),
        (b'{"text": "a"}', InputError, "there are 1 texts"),
        (b'{"text": "a", "cluster": 1}\n{"text": "b"}', InputError, "Line 1 of in.jsonl already has a field 'cluster'"),
    ],
)
def test_input_that_cannot_be_used_is_refused_with_its_place(
    content: bytes, error: type[Exception], message: str, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_bytes(content)
    np.save(tmp_path / "v.npy", np.ones((1, 4)))
    result = invoke(tmp_path / "in.jsonl", "--vectors", tmp_path / "v.npy", "-o", tmp_path / "out", "--strict")
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_vectors_of_other_texts_and_none_at_all_are_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.ones((3, 4)))
    result = invoke(made[0], "--vectors", tmp_path / "other.npy", "-o", tmp_path / "out")
    assert "other.npy has 3 vectors; in.jsonl has 12 texts" in str(result.exception)
    assert "Give either --model" in invoke(made[0], "-o", tmp_path / "out").output


def test_a_map_that_fits_is_drawn_where_the_memory_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert fitting_layout("auto", 1500, "auto") == "auto"
    assert fitting_layout("auto", 1500, "4GB") == "umap"
    assert not capsys.readouterr().err
    assert fitting_layout("auto", 1500, "450MB") == "pca"
    assert "principal components: UMAP would take" in capsys.readouterr().err
    assert fitting_layout("auto", 20, "450MB") == "pca"
    assert not capsys.readouterr().err  # so few are never laid out by UMAP


def test_clusters_that_do_not_fit_are_refused_before_a_model_is_loaded(made: tuple[Path, Path], tmp_path: Path) -> None:
    result = invoke(made[0], "--model", tmp_path / "no-model", "-o", tmp_path / "out", "--memory", "350MB")
    assert isinstance(result.exception, DoesNotFitError)
    assert "Clustering 12 texts takes a process of about" in str(result.exception)
    with pytest.raises(DoesNotFitError, match=r"Give \d+ MiB or more or --layout pca\.$"):
        fitting_layout("umap", 1500, "450MB")


def test_a_size_of_memory_that_fits_is_no_obstacle(made: tuple[Path, Path], tmp_path: Path) -> None:
    result = invoke(made[0], "--vectors", made[1], "-o", tmp_path / "out", "--memory", "450MB")
    assert result.exception is None, result.output


def first_record(folder: Path) -> dict[str, float]:
    record: dict[str, float] = json.loads((folder / "records.jsonl").read_text().splitlines()[0])
    return record


def test_in_a_size_of_memory_the_model_runs_in_a_process_of_its_own(tiny_qwen3: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("\n".join(TEXTS))
    asked = [tmp_path / "in.txt", "--model", tiny_qwen3]
    assert invoke(*asked, "-o", tmp_path / "here").exit_code == 0
    result = invoke(*asked, "-o", tmp_path / "apart", "--memory", "2GB")
    assert result.exit_code == 0, result.output
    here, apart = (first_record(tmp_path / name) for name in ("here", "apart"))
    assert apart["cluster"] == here["cluster"]
    assert apart["map_x"] == pytest.approx(here["map_x"], abs=1e-3)


def test_what_that_process_raises_is_raised(tmp_path: Path, made: tuple[Path, Path]) -> None:
    result = invoke(made[0], "--model", tmp_path / "no-model", "-o", tmp_path / "out", "--memory", "2GB")
    assert isinstance(result.exception, ModelNotFoundError), result.exception
    assert "no-model" in str(result.exception)


def test_a_process_that_is_killed_is_said(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_options, "make_in_child", end_at_once)
    result = invoke(made[0], "--model", "any", "-o", tmp_path / "out", "--memory", "2GB")
    assert isinstance(result.exception, EngineError), result.exception
    assert "ended with exit code 9 before it was done" in str(result.exception)


def test_a_process_of_its_own_leaves_nothing_behind(tiny_qwen3: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("\n".join(TEXTS))
    command = [sys.executable, "-m", "farthing", "cluster", str(tmp_path / "in.txt"), "--model", str(tiny_qwen3)]
    command += ["-o", str(tmp_path / "out"), "--memory", "2GB"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "leaked" not in done.stderr  # as multiprocessing says of semaphores when a process ends in disorder
