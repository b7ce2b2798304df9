from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from farthing.core.errors import CheckpointError, SettingsError, UnknownArchitectureError
from farthing.core.settings import EngineSettings
from farthing.engine.cards.model import TorchModel
from farthing.engine.describe import describe_model, read_shape
from farthing.engine.native_model import NativeModel
from farthing.engine.plan.ledger import layer_bytes, shared_bytes
from farthing.engine.plan.run_mode import Dtype
from farthing.engine.runner import Runner
from farthing.engine.weights.convert import ConvertedTensors
from farthing.engine.weights.load import load_model, load_weights
from farthing.engine.weights.tensor_names import unwrap
from farthing.models.synth.checkpoint import find_shape, write_synthetic
from farthing.quant.formats import FORMATS

MIB = 2**20
TEXTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 60]]
EVERY_FAMILY = pytest.mark.parametrize("folder", ["qwen3", "bert"], indirect=True)


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def rows(path: Path, **settings: Any) -> np.ndarray:
    output = Runner(load_model(path, EngineSettings(num_threads=1, **{"format": "fp32", **settings}))).run(TEXTS)
    assert not output.errors
    return output.rows


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_model(path, EngineSettings())
    return str(caught.value)


@EVERY_FAMILY
def test_a_model_comes_with_everything_that_is_known_of_it(folder: Any) -> None:
    loaded = load_model(folder.path, EngineSettings(context_length=50))
    assert loaded.description.path == folder.path
    assert loaded.fingerprint == f"{loaded.description.identity}-int8"
    assert loaded.plan.context_length == 50
    assert isinstance(loaded.computing, NativeModel)
    assert len(list(loaded.computing.layers())) == loaded.spec.num_layers
    assert loaded.family.layout(loaded.spec) == loaded.description.layout


@EVERY_FAMILY
def test_a_model_is_described_before_its_weights_are_there(folder: Any) -> None:
    (folder.path / "model.safetensors").unlink()
    described = describe_model(folder.path, EngineSettings())
    assert described.plan.ledger.named("weights") > 0
    assert "no *.safetensors" in refusal(folder.path)


@EVERY_FAMILY
def test_missing_and_left_over_tensors_are_named(folder: Any) -> None:
    tensors = folder.tensors
    layer = "layers.1.mlp.up_proj" if "norm.weight" in tensors else "encoder.layer.1.output.dense"
    tensors[f"{layer}.scale"] = tensors.pop(f"{layer}.weight")
    assert refusal(folder.save(tensors)) == (
        f"{folder.path} does not fit its config.json: missing {layer}.weight; left over {layer}.scale. "
        "The file is of another model, or incomplete."
    )


def test_of_many_missing_tensors_the_first_are_named_and_the_rest_counted(qwen3: Any) -> None:
    tensors = {name: tensor for name, tensor in qwen3.tensors.items() if not name.startswith("layers.2.")}
    message = refusal(qwen3.save(tensors))
    assert "missing layers.2.input_layernorm.weight, layers.2.self_attn.q_norm.weight, " in message
    assert " and 3 more; left over nothing." in message


def test_layers_that_the_config_does_not_know_are_left_over(qwen3: Any) -> None:
    message = refusal(qwen3.configure(num_hidden_layers=2))
    assert "missing nothing; left over layers.2." in message


@EVERY_FAMILY
def test_a_tensor_of_another_shape_is_named_with_both(folder: Any) -> None:
    table = "embed_tokens.weight" if "norm.weight" in folder.tensors else "embeddings.word_embeddings.weight"
    vocab, hidden = folder.tensors[table].shape
    message = refusal(folder.configure(vocab_size=vocab + 1))
    assert message == f"{table} has shape [{vocab}, {hidden}]; config.json makes it [{vocab + 1}, {hidden}]."


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(torch.int8, "I8"), (torch.uint8, "U8"), (torch.float64, "F64"), (torch.float8_e4m3fn, "F8_E4M3")],
)
def test_a_tensor_of_another_type_is_refused_before_any_weight_is_read(
    qwen3: Any, dtype: torch.dtype, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = qwen3.tensors
    tensors["norm.weight"] = tensors["norm.weight"].to(dtype)
    path = qwen3.save(tensors)
    monkeypatch.setattr("farthing.checkpoint.reader.Checkpoint.read", lambda *_: pytest.fail("a weight was read"))
    assert refusal(path) == f"norm.weight is stored as {name}; checkpoints in F32, BF16, F16 can be read."


@EVERY_FAMILY
def test_optional_tensors_change_nothing_whatever_they_hold(folder: Any) -> None:
    before = rows(folder.path)
    optional = {"lm_head.weight": torch.ones(3, dtype=torch.int64)}
    if "norm.weight" not in folder.tensors:
        optional |= {"pooler.dense.weight": torch.ones(2, 2), "embeddings.position_ids": torch.arange(4)}
    assert np.array_equal(rows(folder.save({**folder.tensors, **optional})), before)


@pytest.mark.parametrize(("folder", "prefix"), [("qwen3", "model."), ("bert", "bert.")], indirect=["folder"])
def test_the_prefix_of_a_larger_model_is_taken_off(folder: Any, prefix: str) -> None:
    before = rows(folder.path)
    wrapped = {prefix + name: tensor for name, tensor in folder.tensors.items()}
    assert np.array_equal(rows(folder.save(wrapped)), before)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bert.encoder.x", "encoder.x"),
        ("roberta.encoder.x", "encoder.x"),
        ("encoder.x", "encoder.x"),
        ("bert.roberta.x", "roberta.x"),
        ("bertha.x", "bertha.x"),
    ],
)
def test_one_prefix_is_taken_off_a_name(name: str, expected: str) -> None:
    assert unwrap(name, ("bert.", "roberta.")) == expected


@EVERY_FAMILY
def test_every_format_gives_nearly_the_same_rows(folder: Any) -> None:
    exact = rows(folder.path, format="fp32")
    for name in ("bf16", "fp16"):
        assert rows(folder.path, format=name) == pytest.approx(exact, abs=0.05)


def test_a_checkpoint_in_several_files_is_one_model(qwen3: Any) -> None:
    before = rows(qwen3.path)
    tensors = qwen3.tensors
    (qwen3.path / "model.safetensors").unlink()
    names = sorted(tensors)
    for number, part in enumerate((names[::2], names[1::2])):
        qwen3.save({name: tensors[name] for name in part})
        (qwen3.path / "model.safetensors").rename(qwen3.path / f"model-{number}.safetensors")
    assert np.array_equal(rows(qwen3.path), before)


def test_an_unknown_architecture_and_an_unknown_device_keep_their_own_errors(qwen3: Any) -> None:
    with pytest.raises(SettingsError, match="device is 'tpu'"):
        load_model(qwen3.path, EngineSettings(device="tpu"))
    with pytest.raises(UnknownArchitectureError, match="architecture is Llama"):
        load_model(qwen3.configure(architectures=["Llama"]), EngineSettings())


def held_bytes(model: NativeModel) -> int:
    """The bytes of the arrays that a model holds, each once."""
    layers = [layer.weights() for layer in model.layers()]
    held = [array for layer in layers for array in vars(layer).values() if isinstance(array, np.ndarray)]
    return sum(array.nbytes for array in (*held, *model.shared.values()))


@EVERY_FAMILY
@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16", "int8"])
def test_the_plans_bytes_are_those_of_the_arrays_that_are_held(folder: Any, name: str) -> None:
    loaded = load_model(folder.path, EngineSettings(format=name, device="cpu", num_threads=1))
    assert isinstance(loaded.computing, NativeModel)
    assert loaded.plan.ledger.named("weights") == held_bytes(loaded.computing)


@EVERY_FAMILY
@pytest.mark.parametrize("name", ["nf4", "fp8"])
def test_what_is_unpacked_for_each_batch_is_planned_beside_what_is_stored(folder: Any, name: str) -> None:
    described = describe_model(folder.path, EngineSettings(format=name, device="cpu", num_threads=1))
    tensors, layout = ConvertedTensors(described), described.layout
    packed = [array for part in layout.matrices for array in tensors.packed(0, part).values()]
    small = [*tensors.vectors(0).values(), *(tensors.bias(0, part) for part in layout.matrices if part.bias)]
    layer = sum(array.nbytes for array in (*packed, *small) if array is not None)
    shared = sum(array.nbytes for array in tensors.shared().values())
    assert described.plan.ledger.named("weights") == layout.num_layers * layer + shared
    unpacked: Any = load_weights(described).computing
    made = [matrix for matrix in next(unpacked.layers()).matrices.values() if not matrix.keeps_block]
    assert described.plan.ledger.named("a layer unpacked") == sum(matrix.block().nbytes for matrix in made) > 0


@EVERY_FAMILY
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_the_plans_bytes_are_those_of_the_tensors_that_a_card_holds(folder: Any, name: str, dtype: Dtype) -> None:
    described = describe_model(folder.path, EngineSettings(format=name, device="torch-cpu"))
    described = described.with_plan(replace(described.plan, dtype=dtype))
    model = TorchModel(described, ConvertedTensors(described), lambda *_: None)
    held = sum(tensor.nbytes for tensor in model._on_device.values())
    for index in range(described.layout.num_layers):
        for part in described.layout.matrices:
            held += sum(tensor.nbytes for tensor in model._matrix_tensors(index, part).values())
        held += sum(vector.nbytes for vector in model._tensors.vectors(index).values())
    layer, shared = layer_bytes(described.layout, described.plan), shared_bytes(described.layout)
    assert described.layout.num_layers * layer + shared == held


@EVERY_FAMILY
def test_the_plans_table_is_the_one_in_the_file(folder: Any) -> None:
    described = describe_model(folder.path, EngineSettings())
    table = folder.tensors[described.layout.table.source]
    assert described.plan.ledger.named("token table") == table.nbytes


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three layers of the 0.6B: 94 MB on disk, 189 MB in fp32."""
    path = tmp_path_factory.mktemp("wide") / "model"
    write_synthetic(replace(find_shape("qwen3-0.6b"), num_layers=3, vocab=1000), path)
    return path


def test_loading_and_running_stay_inside_the_plan(wide: Path, measured: Callable[..., dict[str, Any]]) -> None:
    result = measured(
        """
from farthing.core.settings import EngineSettings
from farthing.engine.weights.load import load_model
from farthing.engine.runner import Runner

settings = EngineSettings(format="fp32", max_batch_tokens=1024, context_length=1024)
Runner(load_model(Path(sys.argv[2]), settings)).run([[1, 2, 3]])  # what every process needs once
before = resident_bytes()
model = load_model(Path(sys.argv[1]), settings)
loading, kept = peak_bytes() - before, resident_bytes() - before
runner, before = Runner(model), resident_bytes()
runner.run([[n, n + 1] for n in range(512)])
running = peak_bytes() - before
print(json.dumps({
    "weights": model.plan.ledger.named("weights"), "loading": loading, "kept": kept,
    "working": model.plan.ledger.named("working memory"), "running": running,
}))
""",
        wide,
        tiny_of(wide),
    )
    largest = 4 * 1024 * 2 * 3072
    assert result["weights"] == pytest.approx(189 * 10**6, rel=0.01)
    assert result["kept"] <= result["weights"] + 8 * MIB
    assert result["loading"] <= result["weights"] + largest + 16 * MIB
    assert result["working"] // 2 <= result["running"] <= result["working"] + 4 * MIB  # and the texts themselves


def tiny_of(wide: Path, name: str = "tiny") -> Path:
    path = wide.parent / name
    write_synthetic(replace(find_shape("qwen3-tiny"), vocab=200), path)
    return path


@EVERY_FAMILY
@pytest.mark.parametrize("name", ["fp32", "int8", "nf4"])
def test_layers_on_the_host_give_the_same_bits_as_resident_ones(folder: Any, name: str) -> None:
    described = describe_model(folder.path, EngineSettings(format=name, num_threads=1, device="torch-cpu"))
    on_host = replace(described, plan=replace(described.plan, residency="host"))
    resident, copied = (Runner(load_weights(description)).run(TEXTS).rows for description in (described, on_host))
    assert np.array_equal(resident, copied)


@EVERY_FAMILY
@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_layers_from_disk_give_the_same_bits_as_resident_ones(folder: Any, name: str) -> None:
    assert np.array_equal(rows(folder.path, format=name, residency="disk"), rows(folder.path, format=name))


def test_layers_from_disk_take_the_memory_of_one(wide: Path, measured: Callable[..., dict[str, Any]]) -> None:
    """The bf16 matrices of a layer are 31 MB, of all three 94 MB."""
    held = {
        residency: measured(
            """
from farthing.core.settings import EngineSettings
from farthing.engine.weights.load import load_model
from farthing.engine.runner import Runner

settings = EngineSettings(format="bf16", residency=sys.argv[3], max_batch_tokens=256, context_length=256)
Runner(load_model(Path(sys.argv[2]), settings)).run([[1, 2, 3] * 80])  # what every process needs once
before = resident_bytes()
model = load_model(Path(sys.argv[1]), settings)
output = Runner(model).run([[1, 2, 3] * 80])
print(json.dumps({"peak": peak_bytes() - before, "kept": resident_bytes() - before}))
""",
            wide,
            tiny_of(wide, residency),
            residency,
        )
        for residency in ("resident", "disk")
    }
    assert held["resident"]["kept"] > 90 * 10**6
    assert held["disk"]["kept"] < 31 * 10**6 + 16 * MIB  # a layer, as the kernels take it
    assert held["disk"]["peak"] < 2 * 31 * 10**6 + 48 * MIB


QUANTISED: dict[str, tuple[object, dict[str, str], str]] = {
    "gptq": ({"quant_method": "gptq", "bits": 4}, {"weight": "qweight"}, "gptq"),
    "awq": ({"quant_method": "awq"}, {"weight": "qweight"}, "awq"),
    "compressed-tensors": (
        {"quant_method": "compressed-tensors", "format": "pack-quantized"},
        {"weight": "weight_packed"},
        "compressed-tensors",
    ),
    "bitsandbytes of old": ({"load_in_4bit": True}, {"weight": "weight.absmax"}, "bitsandbytes"),
    "said by none but the names": (None, {"weight": "qweight"}, "GPTQ or AWQ"),
    "HQQ, said by names": (None, {"weight": "W_q"}, "HQQ"),
}


@EVERY_FAMILY
@pytest.mark.parametrize(("settings", "renamed", "tool"), QUANTISED.values(), ids=QUANTISED)
def test_weights_that_another_tool_quantised_are_refused_with_its_name(
    folder: Any, settings: object, renamed: dict[str, str], tool: str
) -> None:
    tensors = folder.tensors
    stem = "layers.1.mlp.up_proj" if "norm.weight" in tensors else "encoder.layer.1.output.dense"
    for old, new in renamed.items():
        tensors[f"{stem}.{new}"] = tensors.pop(f"{stem}.{old}")
    path = folder.save(tensors)
    if settings is not None:
        say(path, quantization_config=settings)
    message = refusal(path)
    assert message.startswith(f"{path} is quantised by {tool}, which is not read: missing {stem}.weight; left over ")
    assert message.endswith("or as GGUF, or quantised by MLX.")


def say(path: Path, **config: object) -> None:
    """Into config.json."""
    file = path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))


@pytest.mark.parametrize("method", ["fp8", "compressed-tensors"])
def test_a_quantised_type_is_refused_with_the_name_of_the_method(qwen3: Any, method: str) -> None:
    tensors = qwen3.tensors
    tensors["norm.weight"] = tensors["norm.weight"].to(torch.float8_e4m3fn)
    path = qwen3.save(tensors)
    say(path, quantization_config={"quant_method": method})
    assert refusal(path).startswith(f"norm.weight is stored as F8_E4M3, quantised by {method}; checkpoints in F32")


def test_plain_weights_are_read_whatever_the_config_says_of_quantising(qwen3: Any) -> None:
    want = rows(qwen3.path)
    say(qwen3.path, quantization_config={"quant_method": "gptq"})
    assert np.array_equal(rows(qwen3.path), want)


def test_a_plan_of_a_config_alone_says_that_its_weights_cannot_be_read(qwen3: Any, tmp_path: Path) -> None:
    say(qwen3.path, quantization_config={"quant_method": "awq"})
    read_shape(qwen3.path, EngineSettings())
    for file in qwen3.path.glob("*.safetensors"):
        file.unlink()
    with pytest.raises(CheckpointError, match="quantised by awq, which is not read"):
        read_shape(qwen3.path, EngineSettings())


@EVERY_FAMILY
def test_a_table_under_the_name_of_the_matrix_it_is_tied_to_is_read(folder: Any) -> None:
    want, tensors = rows(folder.path), folder.tensors
    is_qwen3 = "norm.weight" in tensors
    table = "embed_tokens.weight" if is_qwen3 else "embeddings.word_embeddings.weight"
    tensors["lm_head.weight" if is_qwen3 else "lm_head.decoder.weight"] = tensors.pop(table)
    path = folder.save(tensors)
    say(path, tie_word_embeddings=True)
    assert np.array_equal(rows(path), want)
    say(path, tie_word_embeddings=False)
    assert "stands for the missing matrix only where config.json ties them (tie_word_embeddings: true)" in refusal(path)


def test_the_names_of_early_versions_of_transformers_are_read(bert: Any) -> None:
    want = rows(bert.path)
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = {
        next((name.replace(new, early) for new, early in old.items() if name.endswith(new)), name): tensor
        for name, tensor in bert.tensors.items()
    }
    assert tensors.keys() != bert.tensors.keys()
    assert np.array_equal(rows(bert.save(tensors)), want)


def test_what_does_not_fit_an_architecture_that_was_assumed_says_so(bert: Any) -> None:
    tensors = bert.tensors
    tensors["classifier.weight"] = torch.zeros(1, 24)
    path = bert.save(tensors)
    say(path, architectures=None, model_type="bert")
    assert "config.json names no architectures, so it is read as BertModel, by its model_type" in refusal(path)
    say(path, architectures=["BertModel"])
    assert "names no architectures" not in refusal(path)


def test_an_adapter_beside_a_model_is_not_passed_over_in_silence(qwen3: Any, caplog: pytest.LogCaptureFixture) -> None:
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "some/base"}
    (qwen3.path / "adapter_config.json").write_text(json.dumps(adapter))
    describe_model(qwen3.path, EngineSettings())
    assert "beside it a LORA adapter of some/base, which is not applied" in caplog.text
