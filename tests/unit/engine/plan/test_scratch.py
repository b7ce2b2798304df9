from __future__ import annotations

import pytest

from farthing.engine.describe import shape_of_config
from farthing.engine.plan.scratch import Pass, native_scratch_bytes, torch_pass_bytes
from farthing.models.forward.native_pass import layer_shape
from farthing.models.synth.checkpoint import SHAPES
from farthing.quant.formats import weight_format
from farthing.quant.native.team import native_kernels

SPECS = {name: shape_of_config(SHAPES[name].config()).spec for name in ("qwen3-tiny", "qwen3-0.6b", "qwen3-8b")}


def one_pass(name: str, num_tokens: int, num_texts: int = 1, form: str = "fp32") -> Pass:
    longest = num_tokens // num_texts
    return Pass(SPECS[name], num_tokens, num_texts, longest, 1024, dtype_bytes=4, residual_bytes=4, converts=False, form=form)


@pytest.mark.parametrize("form", ["int8", "fp32", "bf16"])
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize(("num_tokens", "num_texts"), [(1, 1), (4096, 512), (32768, 1)])
def test_the_scratch_of_the_native_layers_is_counted_to_the_byte(
    name: str, num_tokens: int, num_texts: int, form: str
) -> None:
    kernels = native_kernels(2)
    shape = layer_shape(SPECS[name], SPECS[name].layers[0], None, weight_format(form))
    actual = kernels.layer_scratch_bytes(shape, num_tokens, num_texts)
    assert native_scratch_bytes(one_pass(name, num_tokens, num_texts, form), kernels.num_threads) == actual


def test_working_memory_grows_with_the_tokens_and_not_with_their_square() -> None:
    short, long = (torch_pass_bytes(one_pass("qwen3-0.6b", num_tokens)) for num_tokens in (8192, 32768))
    assert short < long < 4 * short
