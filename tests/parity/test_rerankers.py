"""Cross-encoders with small seeded weights against transformers: token for token, and score for score."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rerankers import DOCUMENTS, MAKERS, PAIRS, QUERY, reference_ids, reference_scores, write_reranker
from safetensors.torch import load_file, save_file

from farthing import Reranker
from farthing.core.errors import NonFiniteError
from farthing.core.settings import SourceSettings
from farthing.models.synth.checkpoint import find_shape, write_synthetic
from farthing.serving.quantising.quantise import quantise_model
from farthing.serving.text.prepare import Slice

Make = Callable[[str], Path]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = write_reranker(kind, tmp_path_factory.mktemp("rerankers") / kind.replace(" ", "-"))
        return made[kind]

    return folder


def scores(path: Path, **settings: object) -> np.ndarray:
    with Reranker(str(path), **settings) as reranker:
        return reranker.score(PAIRS)


@pytest.mark.parametrize("kind", MAKERS)
def test_scores_are_those_of_transformers(kind: str, make: Make) -> None:
    got, want = scores(make(kind), format="fp32"), reference_scores(make(kind), PAIRS)
    assert np.ptp(want) > 1e-2, "scores that are all alike would hide mistakes"
    assert got == pytest.approx(np.array(want), abs=1e-4)


@pytest.mark.parametrize("kind", ["qwen3 tied", "bert", "xlm-roberta"])
def test_pairs_are_those_of_the_tokenizer_token_for_token(kind: str, make: Make) -> None:
    with Reranker(str(make(kind))) as reranker:
        instruction = reranker._template.instruction or ""
        texts = reranker._preparer.prepare(Slice(PAIRS, prefix=instruction)).texts
    assert list(texts) == reference_ids(make(kind), PAIRS)


def test_qwen3_s_own_tokenizer_splits_between_query_and_document(
    qwen3_tokenizer: Path, make: Make, tmp_path: Path
) -> None:
    folder = shutil.copytree(make("qwen3 tied"), tmp_path / "copy")
    shutil.copyfile(qwen3_tokenizer / "tokenizer.json", folder / "tokenizer.json")
    texts = ["", "a", " a", "  a", "\na", "\u0301a", "8", ">", ":", "{query}", "<|im_end|> yes", "\u3000\u3042"]
    pairs = [pair for text in texts for pair in ((text, "document"), ("{instruction} query", text))]
    with Reranker(str(folder), short_text="embed") as reranker:
        for text in texts:
            got = reranker._preparer.prepare(Slice(pairs, prefix=f"find {text}")).texts
            assert list(got) == reference_ids(folder, pairs, f"find {text}")


def test_an_instruction_of_the_callers_own(make: Make) -> None:
    task = "Given a question about birds, find what answers it"
    with Reranker(str(make("qwen3 tied")), format="fp32") as reranker:
        got = reranker.score(PAIRS, instruction=task)
    assert got == pytest.approx(np.array(reference_scores(make("qwen3 tied"), PAIRS, task)), abs=1e-4)
    assert np.abs(got - scores(make("qwen3 tied"), format="fp32")).max() > 1e-3


@pytest.mark.parametrize("device", ["cpu", "torch-cpu"])
@pytest.mark.parametrize("kind", MAKERS)
def test_int8_is_close_to_fp32(kind: str, device: str, make: Make) -> None:
    got, exact = scores(make(kind), format="int8", device=device), scores(make(kind), format="fp32")
    assert got == pytest.approx(exact, abs=0.05)
    assert not np.array_equal(got, exact)


@pytest.mark.parametrize("kind", ["qwen3 tied", "qwen3 untied", "qwen3 classifier", "bert"])
def test_a_quantised_folder_keeps_the_head_and_gives_the_scores_of_quantising_while_loading(
    kind: str, make: Make, tmp_path: Path
) -> None:
    quantise_model(str(make(kind)), tmp_path / "int8", SourceSettings(), format="int8", measure=False, task="rerank")
    assert np.array_equal(scores(tmp_path / "int8", min_fidelity=0.0), scores(make(kind), format="int8"))


def test_what_is_measured_of_a_quantised_reranker_are_the_rows_that_its_head_reads(make: Make, tmp_path: Path) -> None:
    manifest = quantise_model(str(make("bert")), tmp_path / "int8", SourceSettings(), format="int8", measure=True)
    assert manifest.closeness is not None
    assert 0.99 < manifest.closeness["cosine_mean"] < 1
    assert manifest.closeness["cosine_min"] < 0.9999, "of single numbers every cosine would be 1"


def test_an_untied_head_is_read_row_by_row_from_a_single_matrix(make: Make, tmp_path: Path) -> None:
    """What is not the answers' is never looked at."""
    folder = make("qwen3 untied")
    tensors = load_file(folder / "model.safetensors")
    for row in range(0, 151669, 1000):
        tensors["lm_head.weight"][row] = torch.nan
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    save_file(tensors, tmp_path / "model.safetensors")
    assert np.array_equal(scores(tmp_path), scores(folder))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_row_that_overflows_is_an_error_and_no_score(value: float, make: Make, tmp_path: Path) -> None:
    """tanh would make a number of infinity that looks right."""
    shutil.copytree(make("bert"), tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["bert.encoder.layer.1.output.LayerNorm.bias"][3] = value
    save_file(tensors, tmp_path / "model.safetensors")
    with Reranker(str(tmp_path)) as reranker, pytest.raises(NonFiniteError):
        reranker.rank(QUERY, DOCUMENTS)


def test_a_score_does_not_depend_on_the_company(make: Make) -> None:
    for kind in ("qwen3 tied", "bert"):
        with Reranker(str(make(kind))) as reranker:
            alone = np.concatenate([reranker.score([pair]) for pair in PAIRS])
            assert reranker.score(PAIRS) == pytest.approx(alone, abs=1e-5)


def test_an_old_checkpoint_without_dtype_or_num_labels_is_understood(make: Make, tmp_path: Path) -> None:
    shutil.copytree(make("bert"), tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config = {key: value for key, value in config.items() if key not in ("dtype", "torch_dtype", "num_labels")}
    (tmp_path / "config.json").write_text(json.dumps({**config, "id2label": {"0": "LABEL_0"}}))
    assert np.array_equal(scores(tmp_path), scores(make("bert")))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_true_shape_of_the_0_6b(tmp_path: Path) -> None:
    write_synthetic(find_shape("qwen3-reranker-0.6b"), tmp_path / "reranker")
    got = scores(tmp_path / "reranker", format="fp32")
    assert got == pytest.approx(np.array(reference_scores(tmp_path / "reranker", PAIRS)), abs=1e-4)
