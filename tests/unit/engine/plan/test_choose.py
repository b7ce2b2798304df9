from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.core.errors import DoesNotFitError, SettingsError
from farthing.core.settings import EngineSettings
from farthing.engine.describe import shape_of_config
from farthing.engine.plan.choose import Option, make_plan, options
from farthing.engine.plan.device import DeviceFacts
from farthing.engine.plan.plan import Plan, speed, summary
from farthing.models.synth.checkpoint import SHAPES
from tiers import examples

GIB = 2**30
CPU = DeviceFacts("cpu", "AMD EPYC", 64 * GIB, 60 * GIB, False, False, num_threads=2)
A100 = DeviceFacts("cuda:0", "A100", 80 * GIB, 79 * GIB, True, True, num_threads=8)
H100 = replace(A100, name="H100", fast_fp8=True)
MODELS = {name: shape_of_config(SHAPES[name].config()) for name in ("qwen3-0.6b", "qwen3-4b", "qwen3-8b")}
SMALL = MODELS["qwen3-0.6b"]

sizes = st.integers(2 * 10**8, 60 * 10**9)
models = st.sampled_from(list(MODELS.values()))
facts = st.sampled_from([CPU, A100])
asked = st.fixed_dictionaries(
    {
        "format": st.sampled_from(["auto", "none", "fp32", "bf16", "int8", "nf4"]),
        "residency": st.sampled_from(["auto", "resident", "host"]),
        "context_length": st.sampled_from([None, 512, 32768]),
        "max_batch_tokens": st.sampled_from([None, 1000]),
    }
)


def plan_for(model: Any = SMALL, device: DeviceFacts = CPU, **chosen: Any) -> Plan:
    return make_plan(EngineSettings(**chosen), device, model)


def position(model: Any, device: DeviceFacts, chosen: dict[str, Any], num_bytes: int) -> int | None:
    """Place of the plan in the order of preference; None where nothing fits."""
    found: list[Option] = list(options(EngineSettings(**chosen, memory=f"{num_bytes}B"), device, model))
    return next((index for index, option in enumerate(found) if option.fits), None)


@settings(max_examples=examples(60), deadline=None)
@given(models, facts, asked, sizes)
def test_a_plan_never_exceeds_the_memory_and_keeps_to_what_was_asked(
    model: Any, device: DeviceFacts, chosen: dict[str, Any], num_bytes: int
) -> None:
    if position(model, device, chosen, num_bytes) is None:
        with pytest.raises(DoesNotFitError):
            plan_for(model, device, **chosen, memory=f"{num_bytes}B")
        return
    plan = plan_for(model, device, **chosen, memory=f"{num_bytes}B")
    assert plan.ledger.total(plan.main_place) <= num_bytes
    assert chosen["format"] in ("auto", "none", plan.format.name)
    assert chosen["format"] != "none" or not plan.format.quantises
    assert chosen["residency"] in ("auto", plan.residency) or (device is CPU and plan.residency == "resident")
    assert chosen["context_length"] in (None, plan.context_length)
    assert chosen["max_batch_tokens"] in (None, plan.max_batch_tokens)


@settings(max_examples=examples(40), deadline=None)
@given(models, facts, asked, sizes, sizes)
def test_more_memory_never_leads_to_a_worse_plan(
    model: Any, device: DeviceFacts, chosen: dict[str, Any], one: int, other: int
) -> None:
    with_less, with_more = (position(model, device, chosen, num_bytes) for num_bytes in sorted((one, other)))
    assert with_less is None or (with_more is not None and with_more <= with_less)


@pytest.mark.parametrize(
    ("setting", "memory", "format", "residency", "context"),
    [
        ("auto", "64GB", "int8", "resident", 32768),
        ("auto", "900MiB", "int8", "resident", 16384),
        ("auto", "600MiB", "nf4", "resident", 16384),
        ("auto", "400MiB", "int8", "disk", 16384),
        ("none", "64GB", "fp32", "resident", 32768),
        ("none", "1800MiB", "bf16", "resident", 32768),
        ("none", "600MiB", "fp32", "disk", 16384),
    ],
)
def test_what_the_0_6b_becomes_with_less_and_less_memory(
    setting: str, memory: str, format: str, residency: str, context: int
) -> None:
    plan = plan_for(memory=memory, format=setting)
    assert (plan.format.name, plan.residency, plan.context_length) == (format, residency, context)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("device", [CPU, A100])
def test_layers_are_fetched_for_each_batch_only_where_no_format_stays_on_the_device(
    name: str, device: DeviceFacts
) -> None:
    model, seen = MODELS[name], set()
    for num_bytes in range(6 * 10**8, 20 * 10**9, 4 * 10**8):
        asked = {"memory": f"{num_bytes}B"}
        try:
            plan = plan_for(model, device, **asked)
        except DoesNotFitError:
            continue
        seen.add((plan.format.name, plan.residency))
        if plan.residency != "resident":
            for form in ("bf16", "int8", "nf4"):
                with pytest.raises(DoesNotFitError):
                    plan_for(model, device, **asked, residency="resident", format=form, context_length=2048)
        elif plan.format.quantises and device is A100:  # and rounded only where no exact format fits
            with pytest.raises(DoesNotFitError):
                plan_for(model, device, **asked, residency="resident", format="none", context_length=2048)
        if plan.format.name == "nf4":
            with pytest.raises(DoesNotFitError):
                plan_for(model, device, **asked, residency="resident", format="int8", context_length=2048)
    assert ("int8" if device is CPU else "bf16", "resident") in seen


def test_on_a_card_a_budget_that_holds_int8_is_not_spent_on_fetching_the_model_for_each_query() -> None:
    plan = plan_for(MODELS["qwen3-4b"], A100, memory="6GB", context_length=8192)
    assert (plan.format.name, plan.residency, plan.context_length) == ("int8", "resident", 8192)
    assert plan.reasons[0] == (
        "int8, which rounds the weights, because no exact format fits 5,722 MiB; with --format none they are exact, "
        "and fetched for each batch"
    )
    assert plan.is_rounded
    assert not plan_for(MODELS["qwen3-4b"], A100, memory="6GB", context_length=8192, format="int8").is_rounded


def test_on_a_cpu_exact_weights_that_do_not_fit_are_read_for_each_batch() -> None:
    exact = plan_for(MODELS["qwen3-4b"], memory="6GB", context_length=8192, format="none")
    assert not exact.is_rounded
    assert (exact.format.name, exact.residency) == ("fp32", "disk")
    assert "layers read from disk for each batch (6,931 MiB), because they do not fit 5,722 MiB together" in (
        exact.reasons
    )


def test_a_cpu_rounds_to_int8_unless_it_is_asked_not_to_and_more_only_where_that_does_not_fit() -> None:
    usual, tight = plan_for(context_length=2048), plan_for(context_length=2048, memory="600MiB")
    assert (usual.format.name, usual.is_rounded) == ("int8", False)
    assert (tight.format.name, tight.is_rounded) == ("nf4", True)
    assert tight.reasons[0].startswith("nf4, which rounds the weights more, because int8 does not fit 600 MiB; with")
    assert plan_for(format="none").format.name == "fp32"


def test_a_quantised_format_is_taken_on_a_card_only_where_no_exact_one_fits_and_said() -> None:
    asked = {"context_length": 32768, "device": A100}
    exact, forced = plan_for(**asked, memory="2400MiB"), plan_for(**asked, memory="1150MiB", residency="resident")
    assert not exact.format.quantises
    assert forced.format.quantises
    assert forced.reasons[0].endswith(", which rounds the weights, because no exact format fits 1,150 MiB")
    with pytest.raises(DoesNotFitError):
        plan_for(**asked, memory="1150MiB", residency="resident", format="none")


def test_what_does_not_fit_is_said_with_bytes_and_what_would() -> None:
    with pytest.raises(DoesNotFitError) as caught:
        plan_for(memory="1GB", format="bf16", residency="resident", context_length=512)
    error = caught.value
    least = plan_for(memory="none", format="bf16", residency="resident", context_length=512, max_batch_tokens=512)
    assert error.param == "memory"
    assert 0 < error.short_bytes <= least.ledger.total("host") - 10**9
    assert f"{error.short_bytes:,} more" in str(error)
    assert "int8, resident, with texts of up to 512 tokens would fit" in str(error)
    # Who cannot take another format learns how much memory this one needs.
    assert plan_for(memory=asked_for(error), format="bf16", residency="resident", context_length=512)


def asked_for(error: DoesNotFitError) -> str:
    """The memory that the message asks for, as a setting."""
    found = re.search(r"Give ([0-9,]+) MiB or more", str(error))
    assert found is not None, str(error)
    return f"{found[1].replace(',', '')}MiB"


@pytest.mark.parametrize("memory", ["1B", "150MiB", "250MiB"])
@pytest.mark.parametrize("kept_bytes", [0, 160 * 2**20])
def test_the_memory_that_is_asked_for_is_enough_and_not_much_more(memory: str, kept_bytes: int) -> None:
    chosen = EngineSettings(memory=memory, format="bf16", context_length=512)
    with pytest.raises(DoesNotFitError) as caught:
        make_plan(chosen.less_memory(kept_bytes), CPU, SMALL)
    error = caught.value.beside(memory, kept_bytes) if kept_bytes else caught.value
    assert ("Of " in str(error)) == (kept_bytes > 0)
    asked = replace(chosen, memory=asked_for(error)).less_memory(kept_bytes)
    assert make_plan(asked, CPU, SMALL).residency == "disk"
    with pytest.raises(DoesNotFitError):
        make_plan(asked.less_memory(3 * 2**20), CPU, SMALL)


def test_where_the_host_of_a_card_is_short_no_memory_of_the_card_is_asked_for() -> None:
    tight = replace(A100, host_free_bytes=2**20)
    with pytest.raises(DoesNotFitError, match=r"Free [0-9,]+ MiB of the host's memory\.$"):
        plan_for(MODELS["qwen3-8b"], tight, format="bf16", residency="resident")


def test_the_plan_for_exactly_the_bytes_it_needs_is_the_same_plan() -> None:
    asked = {"context_length": 4096, "format": "fp32"}
    plan = plan_for(memory="none", **asked)
    assert plan.budget_bytes is None
    again = plan_for(memory=f"{plan.ledger.total('host')}B", **asked)
    assert (again.ledger, again.keeps_table) == (plan.ledger, plan.keeps_table)
    short = plan_for(memory=f"{plan.ledger.total('host') - 1}B", **asked)
    assert (short.format, short.residency, short.keeps_table) == (plan.format, plan.residency, False)


def test_by_default_a_tenth_of_what_is_free_is_left() -> None:
    assert plan_for(device=replace(CPU, free_bytes=10 * GIB)).budget_bytes == 9 * GIB


def test_weights_that_are_not_quantised_yet_are_not_read_from_disk_in_such_a_format() -> None:
    with pytest.raises(SettingsError, match="farthing quantize MODEL OUT --format int8; then give OUT"):
        plan_for(device=A100, format="int8", residency="disk")
    assert plan_for(format="int8", residency="disk").residency == "disk"  # it is prepared at the first start
    folder = replace(SMALL, is_quantised=True)
    assert plan_for(folder, A100, format="int8", residency="disk").residency == "disk"


def test_on_a_cpu_host_memory_is_the_devices() -> None:
    plan = plan_for(residency="host")
    assert plan.residency == "resident"
    assert plan.reasons[-1] == "layers resident, because on a CPU the host's memory is the device's"


def test_on_a_card_layers_go_to_the_host_before_they_go_to_disk() -> None:
    model = MODELS["qwen3-8b"]
    kinds = [plan_for(model, A100, memory=f"{gigabytes}GB", context_length=512).residency for gigabytes in (40, 4)]
    assert kinds == ["resident", "host"]


def test_a_card_holds_the_token_table_only_where_there_is_room() -> None:
    roomy = plan_for(device=A100)
    tight = plan_for(device=A100, memory=f"{roomy.ledger.total('device') - 1}B")
    places = [
        next(entry.place for entry in plan.ledger.entries if entry.name == "token table") for plan in (roomy, tight)
    ]
    assert places == ["device", "host"]
    assert (tight.format, tight.residency, tight.context_length) == (roomy.format, "resident", roomy.context_length)
    gguf = replace(SMALL, has_plain_table=False)
    assert not plan_for(gguf, A100).keeps_table


def test_a_card_that_is_short_of_memory_takes_fewer_rows_at_a_time_before_shorter_texts() -> None:
    tight = plan_for(device=A100, memory="1500MB")
    assert (tight.format.name, tight.residency, tight.context_length) == ("bf16", "resident", 32768)
    assert tight.chunk_tokens < plan_for(device=A100).chunk_tokens


@pytest.mark.parametrize(
    ("model", "format", "memory", "context"),
    [
        ("qwen3-4b", "bf16", "9.5GB", 32768),
        ("qwen3-4b", "nf4", "3.5GB", 4096),
        ("qwen3-8b", "nf4", "6GB", 4096),
        ("qwen3-0.6b", "bf16", "1.6GB", 32768),
    ],
)
def test_what_fits_small_cards(model: str, format: str, memory: str, context: int) -> None:
    plan = plan_for(MODELS[model], A100, format=format, memory=memory)
    assert plan.residency == "resident"
    assert plan.context_length >= context


def test_cards_that_share_the_layers_hold_a_model_that_one_cannot() -> None:
    asked = {"format": "bf16", "residency": "resident", "context_length": 4096, "memory": "9GB"}
    with pytest.raises(DoesNotFitError):
        plan_for(MODELS["qwen3-8b"], A100, **asked)
    plan = plan_for(MODELS["qwen3-8b"], replace(A100, others=("cuda:1",)), **asked)
    assert plan.shares(36) == [("cuda:0", range(18)), ("cuda:1", range(18, 36))]
    assert plan.shares(35)[1] == ("cuda:1", range(18, 35))
    assert summary(plan)["device"] == "cuda:0, cuda:1"
    with pytest.raises(SettingsError, match="several cards share layers that stay on them"):
        plan_for(MODELS["qwen3-8b"], replace(A100, others=("cuda:1",)), residency="host")


def test_layers_go_to_the_host_only_where_it_has_room_for_them() -> None:
    small_host = replace(A100, host_free_bytes=4 * GIB)
    roomy, tight = (plan_for(MODELS["qwen3-8b"], device, memory="4GB") for device in (A100, small_host))
    assert (roomy.residency, tight.residency) == ("host", "disk")
    assert tight.ledger.total("host") <= 4 * GIB
    with pytest.raises(DoesNotFitError, match=r"bytes of the host's memory, [0-9,]+ more"):
        plan_for(MODELS["qwen3-8b"], small_host, memory="6GB", residency="host", format="bf16")


@pytest.mark.parametrize(
    ("format", "residency", "device", "unpacked", "expected"),
    [
        ("int8", "resident", A100, False, "int8 tensor cores"),
        ("int8", "host", A100, True, "int8 tensor cores, fetching"),
        ("fp8", "resident", A100, True, "converting"),
        ("fp8", "resident", H100, False, "fp8 tensor cores"),
        ("nf4", "resident", H100, True, "converting"),
        ("bf16", "resident", H100, False, "full"),
    ],
)
def test_on_a_card_the_format_decides_what_multiplies(
    format: str, residency: str, device: DeviceFacts, unpacked: bool, expected: str
) -> None:
    plan = plan_for(device=device, format=format, residency=residency)
    assert speed(plan) == expected
    assert (plan.ledger.named("a layer unpacked") > 0) is unpacked


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"format": "int8"}, "int8 kernels"),
        ({"format": "fp32"}, "fp32 kernels"),
        ({"format": "bf16"}, "bf16 kernels"),
        ({"format": "nf4"}, "int8 kernels"),
        ({"format": "fp32", "residency": "disk"}, "fp32 kernels, fetching"),
    ],
)
def test_the_class_of_speed_says_what_multiplies_and_what_comes_before(chosen: dict[str, str], expected: str) -> None:
    assert speed(plan_for(**chosen)) == expected


def test_the_summary_says_the_ledger_and_the_memory() -> None:
    lines = summary(plan_for(memory="600MiB", format="bf16"))
    assert lines["layers"] == "read from disk for each batch"
    assert lines["memory"].endswith(" MiB of 600 MiB")
    assert "one layer 30 MiB, a layer unpacked 30 MiB" in lines["memory"]
    assert "texts of up to 16,384 tokens of the 32,768 that the model takes, to fit 600 MiB" in lines["reason"]
