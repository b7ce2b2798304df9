from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from farthing.checkpoint.reader import Checkpoint
from farthing.checkpoint.writer import write_tensors
from farthing.core.arrays import BF16, Array, to_float32
from farthing.core.errors import SettingsError
from farthing.engine.weights.tensor_names import NamedWeights
from farthing.models.config import is_synthetic
from farthing.models.families import family_of
from farthing.models.synth import random_tensor
from farthing.models.synth.checkpoint import (
    SHAPES,
    Shape,
    find_shape,
    layout_of,
    num_parameters,
    tensor_specs,
    write_synthetic,
)

MIB = 2**20
SMALL = replace(find_shape("qwen3-tiny"), vocab=200)
RERANKER = replace(find_shape("qwen3-reranker-tiny"), vocab=200)
# As published: layers, hidden, heads, KV heads, head_dim, intermediate, vocabulary, positions.
PUBLISHED = {
    "qwen3-0.6b": (28, 1024, 16, 8, 128, 3072, 151669, 32768),
    "qwen3-4b": (36, 2560, 32, 8, 128, 9728, 151665, 40960),
    "qwen3-8b": (36, 4096, 32, 8, 128, 12288, 151665, 40960),
}


def made(shape: Shape, *, seed: int = 0, outliers: bool = False) -> dict[str, Array]:
    """By name, as fp32."""
    specs = tensor_specs(shape, seed, outliers, BF16)
    return {spec.name: to_float32(np.asarray(spec.make())) for spec in specs}


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_shapes_are_the_published_ones(name: str) -> None:
    config = find_shape(name).config()
    keys = ("num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim",
            "intermediate_size", "vocab_size", "max_position_embeddings")  # fmt: skip
    assert tuple(config[key] for key in keys) == PUBLISHED[name]
    assert (config["rope_theta"], config["rms_norm_eps"], config["attention_bias"]) == (1e6, 1e-6, False)
    assert config["tie_word_embeddings"] is True


def test_the_0_6b_has_exactly_the_published_number_of_parameters() -> None:
    assert num_parameters(find_shape("qwen3-0.6b")) == 595_776_512
    without_table = num_parameters(replace(find_shape("qwen3-0.6b"), vocab=1)) - 1024
    assert 440_000_000 <= without_table <= 441_000_000


@pytest.mark.parametrize("name", ["qwen3-4b", "qwen3-8b"])
def test_the_larger_ones_have_their_names_number_of_parameters(name: str) -> None:
    billions = float(name.removeprefix("qwen3-").removesuffix("b"))
    assert num_parameters(find_shape(name)) / 1e9 == pytest.approx(billions, rel=0.06)


@pytest.mark.parametrize("name", ["qwen3-0.6b", "0.6b", "QWEN3-0.6B", "0.6B"])
def test_a_shape_is_found_in_any_case_and_without_its_first_word(name: str) -> None:
    assert find_shape(name) is SHAPES["qwen3-0.6b"]


def test_a_reranker_differs_in_its_vocabulary_positions_and_names() -> None:
    shape = find_shape("reranker-4b")
    assert (shape.vocab, shape.max_positions, shape.reranker) == (151669, 40960, True)
    names = [spec.name for spec in tensor_specs(shape, 0, False, BF16)]
    assert names == [f"model.{name}" for name, _ in layout_of(shape).tensors()]


def test_an_unknown_shape_is_answered_with_those_there_are() -> None:
    with pytest.raises(SettingsError) as caught:
        find_shape("qwen3-2b")
    assert str(caught.value).startswith("Unknown shape 'qwen3-2b'; available: qwen3-tiny, qwen3-0.6b, qwen3-4b, ")
    assert caught.value.param == "shape"


@pytest.mark.parametrize("shape", [SMALL, RERANKER], ids=["embedder", "reranker"])
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, shape: Shape) -> None:
    for name in ("one", "two"):
        write_synthetic(shape, tmp_path / name, seed=3)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_another_seed_gives_another_tensor_everywhere() -> None:
    one, two = made(SMALL, seed=3), made(SMALL, seed=4)
    assert not [name for name in one if np.array_equal(one[name], two[name])]


def test_no_two_tensors_are_alike() -> None:
    starts = {tuple(tensor.flatten()[:8].tolist()) for tensor in made(SMALL).values()}
    assert len(starts) == len(made(SMALL))


def test_the_number_of_processors_and_the_size_of_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = replace(find_shape("qwen3-tiny"), num_layers=1)
    several = made(shape, outliers=True)
    assert several["embed_tokens.weight"].size > 3 * random_tensor.PIECE_VALUES
    monkeypatch.setattr(random_tensor, "num_processors", lambda: 1)
    alone = made(shape, outliers=True)
    assert not [name for name in alone if not np.array_equal(alone[name], several[name])]


def test_rows_enlarged_piece_by_piece_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_tensor, "PIECE_VALUES", 10 * SMALL.hidden)
    plain, outliers = made(SMALL), made(SMALL, outliers=True)
    for name in ("layers.0.self_attn.o_proj.weight", "layers.3.mlp.down_proj.weight"):
        factor = (outliers[name] / plain[name])[:, 0]
        assert sorted(factor.tolist()) == [1] * (SMALL.hidden - 1) + [16]


def test_the_weights_are_those_that_recorded_vectors_were_made_of() -> None:
    """If this fails after an update of numpy, its generators have changed, and what was recorded is to be made anew."""
    weight = made(SMALL)["layers.1.mlp.up_proj.weight"]
    assert hashlib.sha256(weight.tobytes()).hexdigest()[:16] == "56ca3c47feef0188"


def test_fewer_layers_leave_the_others_unchanged() -> None:
    many, few = made(SMALL), made(replace(SMALL, num_layers=2))
    assert few.keys() < many.keys()
    assert not [name for name in few if not np.array_equal(few[name], many[name])]


def test_a_checkpoint_is_whole_and_fits_its_config(tmp_path: Path) -> None:
    write_synthetic(SMALL, tmp_path)
    checkpoint = Checkpoint(tmp_path)
    family = family_of(checkpoint.config)
    NamedWeights(checkpoint, family.layout(family.spec(checkpoint.config)))  # refuses anything missing or left over
    assert set(files_of(tmp_path)) == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "modules.json",
        "1_Pooling/config.json",
        "config_sentence_transformers.json",
    }


def test_a_checkpoint_says_that_it_is_synthetic(tmp_path: Path) -> None:
    write_synthetic(SMALL, tmp_path)
    assert is_synthetic(Checkpoint(tmp_path).config)
    assert not is_synthetic(SMALL.config())


def test_a_reranker_has_no_files_of_sentence_transformers(tmp_path: Path) -> None:
    write_synthetic(RERANKER, tmp_path)
    assert set(files_of(tmp_path)) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_the_config_comes_last_so_that_half_a_checkpoint_is_no_model(tmp_path: Path) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(SMALL, tmp_path, on_tensor=interrupt)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_another_type_is_written_and_stated(tmp_path: Path, dtype: type[np.floating[Any]]) -> None:
    write_synthetic(SMALL, tmp_path, dtype=np.dtype(dtype))
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {np.dtype(dtype)}
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == np.dtype(dtype).name


def test_a_large_checkpoint_is_sharded(tmp_path: Path) -> None:
    specs = list(tensor_specs(SMALL, 0, False, BF16))
    files = write_tensors(tmp_path, specs, shard_bytes=200_000)
    assert len(files) > 2
    assert max(file.stat().st_size for file in files) < 210_000
    (tmp_path / "config.json").write_text(json.dumps(SMALL.config()))
    checkpoint = Checkpoint(tmp_path)
    assert not [spec.name for spec in specs if not np.array_equal(checkpoint.read(spec.name), np.asarray(spec.make()))]


def test_outliers_behind_norms_are_undone_by_the_matrices_that_read_them() -> None:
    plain, outliers = made(SMALL), made(SMALL, outliers=True)
    for gain, matrix in (("input_layernorm", "self_attn.q_proj"), ("post_attention_layernorm", "mlp.up_proj")):
        names = f"layers.1.{gain}.weight", f"layers.1.{matrix}.weight"
        factor = outliers[names[0]] / plain[names[0]]
        enlarged = factor > 8 * np.median(factor)
        assert int(enlarged.sum()) == 4
        undone = plain[names[1]] / outliers[names[1]]
        assert bool((undone[:, enlarged] == 64).all())
        assert bool((undone[:, ~enlarged] == 1).all())


def test_outliers_in_the_residual_stream_are_the_same_for_all_tokens_and_written_to_by_every_layer() -> None:
    plain, outliers = made(SMALL), made(SMALL, outliers=True)
    table = outliers["embed_tokens.weight"]
    dwarfs = np.abs(table.mean(0)) > 20 * np.median(table.std(0))
    assert int(dwarfs.sum()) == 1
    assert float(np.abs(table[:, dwarfs]).mean() / table[:, ~dwarfs].std()) == pytest.approx(64, rel=0.05)
    for layer in range(SMALL.num_layers):
        for name in (f"layers.{layer}.self_attn.o_proj.weight", f"layers.{layer}.mlp.down_proj.weight"):
            factor = outliers[name] / plain[name]
            assert bool((factor[dwarfs] == 16).all())
            assert bool((factor[~dwarfs] == 1).all())


def test_gains_lie_around_one_and_matrices_keep_the_size_of_their_input() -> None:
    for name, values in made(SMALL).items():
        if values.ndim == 1:
            assert (values.mean(), values.std()) == pytest.approx((1.0, 0.1), abs=0.08), name
        elif name != "embed_tokens.weight":
            x = np.random.default_rng(0).standard_normal((200, values.shape[1]))
            ratio = (x @ values.T).std() / x.std()
            ends_in_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
            assert ratio == pytest.approx(8**-0.5 if ends_in_residual else 1.0, rel=0.1), name


@pytest.mark.parametrize("name", SHAPES)
def test_every_token_of_the_tokenizer_has_an_embedding(name: str, tmp_path: Path) -> None:
    # One layer of one number each: only the tokenizer counts here.
    shape = replace(find_shape(name), hidden=1, num_layers=1, num_heads=1, num_kv_heads=1, head_dim=2, intermediate=1)
    write_synthetic(shape, tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert max(tokenizer.get_vocab().values()) < shape.vocab
    assert max(tokenizer.encode("<think></think><|im_end|>").ids) < shape.vocab


def test_writing_holds_little_more_than_the_largest_tensor(
    tmp_path: Path, measured: Callable[..., dict[str, Any]]
) -> None:
    result = measured(
        """
from dataclasses import replace
from farthing.models.synth.checkpoint import find_shape, num_parameters, write_synthetic

write_synthetic(find_shape("qwen3-tiny"), Path(sys.argv[1]) / "warm")
shape = replace(find_shape("qwen3-tiny"), hidden=1024, num_layers=2, intermediate=12288, vocab=1000)
before = resident_bytes()
write_synthetic(shape, Path(sys.argv[1]) / "model")
print(json.dumps({"growth": peak_bytes() - before, "all": 2 * num_parameters(shape)}))
""",
        tmp_path,
    )
    largest = 2 * 1024 * 12288
    assert result["all"] > 6 * largest
    assert largest // 2 <= result["growth"] <= largest + 12 * MIB
