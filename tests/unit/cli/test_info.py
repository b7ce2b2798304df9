from __future__ import annotations

import json
import re
from importlib.metadata import metadata, requires, version
from pathlib import Path

from click.testing import CliRunner
from quantised_files import write_gguf
from rerankers import write_reranker

from farthing.cli.info import EXTRAS, info
from farthing.core.errors import ModelNotFoundError, SettingsError


def test_info_prints_versions_kernels_device_and_extras() -> None:
    shown = CliRunner().invoke(info, []).stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert [line for line in lines if line.endswith(":")] == ["versions:", "formats:", "device:", "extras:"]
    assert f"torch {version('torch')}" in lines
    assert "available fp32, bf16, fp16, int8, nf4, fp8" in lines
    assert "parquet yes" in lines
    assert re.fullmatch(r"memory [0-9.]+ GiB, [0-9.]+ GiB free", lines[lines.index("device:") + 2])


def test_info_shows_no_names_of_the_program() -> None:
    shown = CliRunner().invoke(info, ["--device", "cpu"]).stdout
    for inside in ("()", "None", "True", "False", "_bytes", "is_native"):
        assert inside not in shown.partition("extras:")[0]


def test_info_json_has_the_same_facts_in_plain_units() -> None:
    facts = json.loads(CliRunner().invoke(info, ["--json", "--device", "cpu"]).stdout)
    assert facts["device"]["device"] == "cpu"
    assert facts["device"]["total_bytes"] > 2**20
    assert facts["extras"]["server"] is True


def test_info_says_what_a_models_files_hold(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", "Q8_0").path
    facts = json.loads(CliRunner().invoke(info, [str(path), "--json"]).stdout)["model"]
    assert facts.pop("fingerprint")
    assert facts == {
        "origin": f"local file {path}",
        "made for": "vectors",
        "family": "qwen3",
        "layers": 2,
        "dimensions": 256,
        "context": 2048,
        "pooling": "last",
        "stored as": "Q8_0 (15 tensors), F32 (9 tensors)",
    }


def test_info_knows_a_reranker(tmp_path: Path) -> None:
    folder = write_reranker("bert", tmp_path)
    facts = json.loads(CliRunner().invoke(info, [str(folder), "--json"]).stdout)["model"]
    assert facts["made for"] == "scores of pairs (farthing rerank)"
    assert (facts["family"], facts["pooling"]) == ("bert", "cls")


def test_info_leaves_open_what_a_language_model_is_for(tiny_reranker: Path) -> None:
    facts = json.loads(CliRunner().invoke(info, [str(tiny_reranker), "--json"]).stdout)["model"]
    assert facts["made for"] == "vectors or scores of pairs (farthing rerank)"


def test_info_refuses_a_device_that_is_not_there() -> None:
    assert isinstance(CliRunner().invoke(info, ["--device", "tpu"]).exception, SettingsError)


def test_info_knows_every_extra_that_users_can_install() -> None:
    declared = set(metadata("farthing").get_all("Provides-Extra") or []) - {"dev"}
    assert declared == set(EXTRAS)


def test_info_asks_only_for_what_the_extras_install() -> None:
    """A distribution that an extra does not bring would make it look as if it were not installed."""
    declared: dict[str, set[str]] = {extra: set() for extra in EXTRAS}
    for requirement in requires("farthing") or []:
        name = re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")
        for extra in re.findall(r"extra == ['\"](\w+)['\"]", requirement):
            declared.setdefault(extra, set()).update({name, *re.findall(r"\[(\w+)\]", requirement)})
    missing = {extra: {name.lower() for name in names} - declared[extra] for extra, names in EXTRAS.items()}
    assert not any(missing.values()), missing


def test_a_shape_or_what_is_nearly_one_is_no_model_to_look_into() -> None:
    for name, message in (("qwen3-0.6b", "farthing plan qwen3-0.6b"), ("qwen3-5b", "Did you mean 'qwen3-8b'?")):
        error = CliRunner().invoke(info, [name]).exception
        assert isinstance(error, ModelNotFoundError)
        assert message in str(error)
