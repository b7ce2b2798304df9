from __future__ import annotations

import pytest

from farthing.engine.describe import shape_of_config
from farthing.engine.plan.scratch import Pass, native_pass_bytes, torch_pass_bytes
from farthing.models.forward.native_pass import layer_shape
from farthing.models.synth.checkpoint import SHAPES
from farthing.quant.formats import weight_format
from farthing.quant.native.team import native_kernels

SPECS = {name: shape_of_config(SHAPES[name].config()).spec for name in ("qwen3-tiny", "qwen3-0.6b", "qwen3-8b")}


def one_pass(name: str, num_tokens: int, num_texts: int = 1) -> Pass:
    longest = num_tokens // num_texts
    return Pass(SPECS[name], num_tokens, num_texts, longest, 1024, dtype_bytes=4, residual_bytes=4, converted=0)


@pytest.mark.parametrize("form", ["int8", "fp32", "bf16"])
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize(("num_tokens", "num_texts"), [(1, 1), (4096, 512), (32768, 1)])
def test_a_native_pass_takes_what_the_kernels_ask_for_and_little_beside(
    name: str, num_tokens: int, num_texts: int, form: str
) -> None:
    spec = SPECS[name]
    shape = layer_shape(spec, spec.layers[0], None, weight_format(form))
    scratch = native_kernels(2).layer_scratch_bytes(shape, num_tokens, num_texts)
    residual, tables = 4 * num_tokens * spec.hidden, 8 * (num_tokens // num_texts) * spec.head_dim
    counted = native_pass_bytes(one_pass(name, num_tokens, num_texts), [shape], 2)
    assert scratch + residual < counted <= scratch + residual + tables


def test_working_memory_grows_with_the_tokens_and_not_with_their_square() -> None:
    short, long = (torch_pass_bytes(one_pass("qwen3-0.6b", num_tokens)) for num_tokens in (8192, 32768))
    assert short < long < 4 * short
