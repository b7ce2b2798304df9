from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from farthing.core.errors import SettingsError
from farthing.core.settings import EngineSettings
from farthing.engine.describe import describe_model
from farthing.engine.ladder import make_rungs
from farthing.engine.plan.choose import make_plan
from farthing.engine.plan.device import DeviceFacts
from farthing.engine.plan.plan import Plan
from farthing.engine.plan.run_mode import ModelShape
from farthing.engine.swappable import LiveModel
from farthing.engine.weights.load import load_model
from farthing.models.families.bert import BertFamily
from farthing.models.families.qwen3 import Qwen3Family
from farthing.models.synth.checkpoint import find_shape

MIB, GIB = 2**20, 2**30
CPU = DeviceFacts("cpu", "AMD EPYC", 16 * GIB, 12 * GIB, fast_bf16=False, flash_attention=False, num_threads=2)
CARD = DeviceFacts("cuda:0", "A100", 80 * GIB, 79 * GIB, fast_bf16=True, flash_attention=True, num_threads=8)
QWEN3, BERT = Qwen3Family(), BertFamily()
BERT_CONFIG = {
    "vocab_size": 500, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256,
    "max_position_embeddings": 512, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "type_vocab_size": 2,
}  # fmt: skip
INSTRUCTION = list(range(30))


def plan_for(facts: DeviceFacts = CPU, *, bert: bool = False, **settings: str) -> Plan:
    family = BERT if bert else QWEN3
    spec = family.spec(BERT_CONFIG if bert else find_shape("qwen3-0.6b").config())
    return make_plan(EngineSettings(**settings), facts, ModelShape(spec, family.layout(spec), 512, "fp32"))  # type: ignore[arg-type]


def test_causal_models_share_on_a_cpu_and_others_when_asked() -> None:
    assert plan_for().shares_prefixes
    assert not plan_for(share_prefixes="off").shares_prefixes
    assert not plan_for(CARD).shares_prefixes
    assert plan_for(CARD, share_prefixes="on").shares_prefixes
    assert not plan_for(bert=True, share_prefixes="on").shares_prefixes


def test_what_is_held_is_in_the_plan() -> None:
    assert plan_for(memory="none").ledger.named("shared prefixes") == 64 * MIB
    assert plan_for(memory="1GiB").ledger.named("shared prefixes") == 32 * MIB
    assert plan_for(memory="none", prefix_cache="5MiB").ledger.named("shared prefixes") == 5 * MIB
    for nothing in ({"share_prefixes": "off"}, {"prefix_cache": "0B"}):
        assert plan_for(memory="none", **nothing).ledger.named("shared prefixes") == 0


@pytest.mark.parametrize("size", ["none", "64", "-1MB", ""])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(SettingsError, match=r"prefix_cache is .*64MiB or 0B"):
        EngineSettings(prefix_cache=size)


def test_when_memory_is_short_nothing_is_held_and_less_is_computed_all_the_same(tiny_qwen3: Path) -> None:
    settings = EngineSettings(device="cpu")
    live = LiveModel(load_model(tiny_qwen3, settings))
    _, smaller, *_ = make_rungs(live.description, settings, CPU, may_round=True)
    assert smaller.plan.ledger.named("shared prefixes") == 0
    for last in (100, 101):
        live.run([[*INSTRUCTION, last]])
    assert live.run([[*INSTRUCTION, 102]]).computed == (1,)
    live.move(smaller.plan)
    assert [live.run([[*INSTRUCTION, last]]).computed for last in (103, 104, 105)] == [(31,)] * 3
    assert live.run([[*INSTRUCTION, 106], [*INSTRUCTION, 107]]).computed == (31, 1)
    live.move(replace(live.plan, prefix_bytes=64 * MIB))
    for last in (108, 109):
        live.run([[*INSTRUCTION, last]])
    assert live.run([[*INSTRUCTION, 110]]).computed == (1,)


def test_steps_below_the_plan_share_as_the_plan_does(tiny_qwen3: Path) -> None:
    for share, expected in (("off", False), ("auto", True)):
        settings = EngineSettings(device="cpu", share_prefixes=share)
        found = make_rungs(describe_model(tiny_qwen3, settings), settings, CPU, may_round=True)
        assert {rung.plan.shares_prefixes for rung in found} == {expected}
