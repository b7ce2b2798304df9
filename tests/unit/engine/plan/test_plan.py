from __future__ import annotations

import pytest

from farthing.core.errors import SettingsError
from farthing.core.settings import EngineSettings
from farthing.engine.plan.choose import make_plan
from farthing.engine.plan.device import DeviceFacts
from farthing.engine.plan.ledger import stored_weight_bytes
from farthing.engine.plan.plan import Plan, summary
from farthing.engine.plan.run_mode import ModelShape
from farthing.models.families.qwen3 import Qwen3Family
from farthing.models.synth.checkpoint import find_shape

GIB = 2**30
CPU = DeviceFacts("cpu", "AMD EPYC", 16 * GIB, 12 * GIB, fast_bf16=False, flash_attention=False, num_threads=2)
T4 = DeviceFacts("cuda:0", "Tesla T4", 15 * GIB, 14 * GIB, fast_bf16=False, flash_attention=False, num_threads=4)
A100 = DeviceFacts("cuda:1", "A100", 80 * GIB, 79 * GIB, fast_bf16=True, flash_attention=True, num_threads=8)
FACTS = {"cpu": CPU, "t4": T4, "a100": A100}

SPEC = Qwen3Family().spec(find_shape("qwen3-0.6b").config())
LAYOUT = Qwen3Family().layout(SPEC)


def plan_for(facts: DeviceFacts, *, max_tokens: int = 8192, **settings: object) -> Plan:
    asked = EngineSettings(**{"memory": "none", **settings})  # type: ignore[arg-type]
    return make_plan(asked, facts, ModelShape(SPEC, LAYOUT, max_tokens, "bf16"))


@pytest.mark.parametrize(
    ("device", "setting", "stored", "dtype", "residual", "flash", "reason"),
    [
        ("cpu", "auto", "int8", "fp32", "fp32", False,
         "int8, which a CPU computes several times as fast as exact weights (--format fp32)"),
        ("cpu", "none", "fp32", "fp32", "fp32", False, "fp32, the fastest of the exact formats on a CPU"),
        ("t4", "auto", "fp16", "fp16", "fp32", False,
         "fp16 with an fp32 residual stream, because Tesla T4 has no fast bf16"),
        ("t4", "none", "fp16", "fp16", "fp32", False,
         "fp16 with an fp32 residual stream, because Tesla T4 has no fast bf16"),
        ("a100", "auto", "bf16", "bf16", "bf16", True, "bf16, because A100 computes it fastest"),
        ("a100", "none", "bf16", "bf16", "bf16", True, "bf16, because A100 computes it fastest"),
    ],
)  # fmt: skip
def test_the_format_that_is_chosen_for_a_device(
    device: str, setting: str, stored: str, dtype: str, residual: str, flash: bool, reason: str
) -> None:
    plan = plan_for(FACTS[device], format=setting)
    assert (plan.format.name, plan.dtype, plan.residual_dtype) == (stored, dtype, residual)
    assert plan.flash_attention is flash
    assert plan.reasons == (reason,)


@pytest.mark.parametrize(
    ("device", "stored", "dtype", "residual"),
    [
        ("cpu", "fp32", "fp32", "fp32"),
        ("cpu", "bf16", "fp32", "fp32"),
        ("cpu", "fp16", "fp32", "fp32"),
        ("t4", "fp32", "fp32", "fp32"),
        ("t4", "bf16", "fp32", "fp32"),
        ("t4", "fp16", "fp16", "fp32"),
        ("a100", "fp32", "fp32", "fp32"),
        ("a100", "bf16", "bf16", "bf16"),
        ("a100", "fp16", "fp16", "fp32"),
        ("cpu", "int8", "fp32", "fp32"),
        ("cpu", "nf4", "fp32", "fp32"),
        ("t4", "nf4", "fp16", "fp32"),
        ("a100", "nf4", "bf16", "bf16"),
        ("cpu", "fp8", "fp32", "fp32"),
        ("t4", "fp8", "fp16", "fp32"),
        ("a100", "fp8", "bf16", "bf16"),
        ("t4", "int8", "fp16", "fp32"),
        ("a100", "int8", "bf16", "bf16"),
    ],
)
def test_a_format_that_is_asked_for_is_kept_and_computed_in_what_is_fast_and_safe(
    device: str, stored: str, dtype: str, residual: str
) -> None:
    plan = plan_for(FACTS[device], format=stored)
    assert (plan.format.name, plan.dtype, plan.residual_dtype) == (stored, dtype, residual)
    assert plan.flash_attention is (device == "a100" and dtype != "fp32")
    assert plan.reasons == ()


@pytest.mark.parametrize(("device", "budget", "chunk"), [("cpu", 4096, 1024), ("t4", 16384, 8192)])
def test_a_batch_is_larger_on_a_card(device: str, budget: int, chunk: int) -> None:
    plan = plan_for(FACTS[device])
    assert (plan.max_batch_tokens, plan.chunk_tokens) == (budget, chunk)
    assert plan_for(FACTS[device], max_batch_tokens=77).max_batch_tokens == 77


def test_device_and_threads_are_those_of_the_facts_unless_asked_otherwise() -> None:
    assert (plan_for(A100).device, plan_for(A100).num_threads) == ("cuda:1", 8)
    assert plan_for(A100, num_threads=3).num_threads == 3


@pytest.mark.parametrize(("asked", "expected"), [(None, 8192), (1, 1), (8192, 8192), (512, 512)])
def test_the_context_is_the_models_own_or_a_shorter_one(asked: int | None, expected: int) -> None:
    plan = plan_for(A100, context_length=asked, format="bf16")
    assert plan.context_length == expected
    assert plan.reasons == ()


def test_a_context_beyond_the_recommended_one_is_taken_and_said() -> None:
    plan = plan_for(A100, context_length=32768, format="bf16")
    assert plan.context_length == 32768
    assert plan.reasons == ("context of 32768 tokens as asked, beyond the 8192 that the model's files recommend",)


def test_a_context_beyond_the_positions_is_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        plan_for(CPU, context_length=32769)
    assert str(caught.value) == "context_length is 32769; this model's positions reach 32768"
    assert caught.value.param == "context_length"


def test_bytes_of_the_0_6b() -> None:
    in_matrices = 28 * 1024 * (2048 + 1024 + 1024 + 2048 + 3 * 3072)
    in_vectors = 28 * (2 * 1024 + 2 * 128) + 1024
    assert in_matrices + in_vectors + 151669 * 1024 == 595_776_512
    assert plan_for(A100).ledger.named("weights") == 2 * in_matrices + 4 * in_vectors
    exact = plan_for(CPU, format="fp32")
    assert exact.ledger.named("weights") == 4 * in_matrices + 4 * in_vectors
    assert plan_for(CPU).ledger.named("weights") == pytest.approx(1.02 * in_matrices + 4 * in_vectors, rel=0.01)
    assert stored_weight_bytes(LAYOUT, exact.format) == 4 * in_matrices + 4 * in_vectors
    assert plan_for(CPU).ledger.named("token table") == plan_for(A100).ledger.named("token table") == 2 * 151669 * 1024


def test_a_text_of_the_context_counts_where_it_is_longer_than_a_batch() -> None:
    ledgers = [plan_for(CPU, context_length=length).ledger for length in (100, 4096, 8192, 16384)]
    working = [ledger.named("working memory") for ledger in ledgers]
    assert working == sorted(working)
    assert working[0] < working[3]


@pytest.mark.parametrize("device", FACTS)
def test_the_summary_says_the_plan_in_words(device: str) -> None:
    plan = plan_for(FACTS[device])
    lines = summary(plan)
    assert lines["device"].startswith(plan.device)
    assert lines["format"] == f"{plan.format.name}, computed in {'int8' if device == 'cpu' else plan.dtype}"
    assert f"weights {plan.ledger.named('weights') / 2**20:,.0f} MiB, token table 296 MiB" in lines["memory"]
    assert plan.reasons[0] in lines["reason"]
