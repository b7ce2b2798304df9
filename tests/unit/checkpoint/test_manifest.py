from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from farthing.checkpoint.manifest import FILE, Manifest, read_manifest
from farthing.core.errors import CheckpointError

CALIBRATION = {"texts": "texts.jsonl", "num_texts": 20, "num_tokens": 300}
CLOSENESS = {"cosine_mean": 0.99, "cosine_min": 0.9, "neighbours_kept": 1, "num_texts": 20}
LATER = ("calibration", "int8_parts", "folder_fingerprint")  # facts that the first folders lack
MANIFEST = Manifest("int8", True, False, "some/model", "0123", "0.1.0", CLOSENESS)


def refusal(folder: Path, content: object) -> str:
    (folder / FILE).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(CheckpointError) as caught:
        read_manifest(folder)
    return str(caught.value)


@pytest.mark.parametrize("closeness", [CLOSENESS, None])
def test_what_is_written_is_read(tmp_path: Path, closeness: dict[str, float] | None) -> None:
    written = replace(MANIFEST, closeness=closeness)
    written.write(tmp_path)
    assert read_manifest(tmp_path) == written
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_what_it_was_calibrated_with_is_read(tmp_path: Path) -> None:
    written = replace(MANIFEST, calibration=CALIBRATION)
    written.write(tmp_path)
    assert read_manifest(tmp_path) == written


def test_which_matrices_are_in_int8_is_read(tmp_path: Path) -> None:
    written = replace(MANIFEST, format="nf4", int8_parts=("qkv", "up"))
    written.write(tmp_path)
    assert read_manifest(tmp_path) == written


@pytest.mark.parametrize("name", LATER)
def test_one_from_before_there_was_such_a_fact_is_read(tmp_path: Path, name: str) -> None:
    content = asdict(MANIFEST)
    del content[name]
    (tmp_path / FILE).write_text(json.dumps(content))
    assert read_manifest(tmp_path) == MANIFEST


def test_a_folder_without_one_is_not_quantised(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize(("content", "reason"), [("{", "cannot be read"), ("[]", "holds no JSON object")])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, content: str, reason: str) -> None:
    message = refusal(tmp_path, content)
    assert f"{tmp_path / FILE} {reason}" in message
    assert message.endswith("Quantise the model again: farthing quantize MODEL OUT.")


@pytest.mark.parametrize("version", [2, None, "1"])
def test_an_unknown_version_says_who_wrote_it_and_what_to_do(tmp_path: Path, version: object) -> None:
    assert refusal(tmp_path, {**asdict(MANIFEST), "version": version}) == (
        f"{tmp_path} is of version {version!r}, written by Farthing 0.1.0; this one reads version 1. "
        "Quantise the model again: farthing quantize some/model OUT."
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", 8),
        ("rotated", "yes"),
        ("source_fingerprint", None),
        ("closeness", {"cosine_mean": 0.99}),
        ("closeness", {**CLOSENESS, "cosine_mean": "high"}),
        ("closeness", 0.99),
        ("folder_fingerprint", 12),
        ("closeness", {**CLOSENESS, "cosine_mean": float("nan")}),
        ("int8_parts", "up"),
        ("int8_parts", [8]),
        ("calibration", "texts.jsonl"),
        ("calibration", {**CALIBRATION, "num_tokens": "many"}),
    ],
)
def test_a_fact_of_another_type_is_named(tmp_path: Path, name: str, value: Any) -> None:
    assert f"lacks or garbles {name}." in refusal(tmp_path, {**asdict(MANIFEST), name: value})


@pytest.mark.parametrize("name", [name for name in asdict(MANIFEST) if name not in ("version", *LATER)])
def test_a_fact_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    content = asdict(MANIFEST)
    del content[name]
    assert f"lacks or garbles {name}." in refusal(tmp_path, content)


@pytest.mark.parametrize(
    "content", ["[" * 200_000, '{"version": ' + "9" * 4_000 + "}", " " * (2**20 + 1)], ids=["deep", "number", "large"]
)
def test_what_could_take_very_long_to_read_is_refused_in_few_words(tmp_path: Path, content: str) -> None:
    assert len(refusal(tmp_path, content)) < 1000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", "s" * 5000),
        ("closeness", {**CLOSENESS, "cosine_min": float("nan")}),
        ("calibration", {**CALIBRATION, "num_texts": 10**300}),
    ],
)
def test_values_out_of_range_are_named(tmp_path: Path, name: str, value: object) -> None:
    message = refusal(tmp_path, {**asdict(MANIFEST), name: value})
    assert f"lacks or garbles {name}" in message
    assert len(message) < 1000
