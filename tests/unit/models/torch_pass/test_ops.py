from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen3Config
from transformers.activations import ACT2FN
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm, Qwen3RotaryEmbedding, apply_rotary_pos_emb

from farthing.models.config import activation
from farthing.models.spec import RopeSpec
from farthing.models.torch_pass.ops import ACTIVATIONS, chunks, layer_norm, rms_norm, rotary_tables, rotate

THETA = 1_000_000.0


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(5)


@pytest.mark.parametrize("head_dim", [32, 128])
def test_rotation_is_that_of_transformers(head_dim: int) -> None:
    config = Qwen3Config(head_dim=head_dim, rope_parameters={"rope_type": "default", "rope_theta": THETA})
    positions = torch.tensor([0, 1, 2, 0, 1, 77, 8191, 32767, 40959])
    x = torch.randn(len(positions), 3, head_dim)  # [tokens, heads, head_dim]
    batched = x.transpose(0, 1)[None]  # [1, heads, tokens, head_dim]
    want, _ = apply_rotary_pos_emb(batched, batched, *Qwen3RotaryEmbedding(config)(batched, positions[None]))
    got = rotate(x, *rotary_tables(positions, head_dim, RopeSpec(THETA)))
    torch.testing.assert_close(got, want[0].transpose(0, 1), atol=1e-6, rtol=1e-6)


def test_rotation_keeps_lengths_and_leaves_its_input() -> None:
    x = torch.randn(6, 2, 16)
    before = x.clone()
    turned = rotate(x, *rotary_tables(torch.arange(6), 16, RopeSpec(THETA)))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[0], x[0])  # position 0 is not turned
    assert torch.equal(x, before)


def test_products_depend_on_the_distance_alone() -> None:
    q, k = torch.randn(2, 1, 1, 16)
    products = [
        (
            rotate(q, *rotary_tables(torch.tensor([place + 3]), 16, RopeSpec(10_000.0)))
            * rotate(k, *rotary_tables(torch.tensor([place]), 16, RopeSpec(10_000.0)))
        ).sum()
        for place in (0, 5, 400)
    ]
    torch.testing.assert_close(products[1:], [products[0]] * 2, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rms_norm_is_that_of_transformers_computed_in_fp32(dtype: torch.dtype) -> None:
    x, norm = (300 * torch.randn(4, 3, 64)).to(dtype), Qwen3RMSNorm(64, eps=1e-6)
    torch.nn.init.normal_(norm.weight)
    got = rms_norm(x, norm.weight.detach(), 1e-6)  # squares of 300 overflow in fp16
    assert got.dtype is torch.float32
    torch.testing.assert_close(got, norm(x.float()).detach(), atol=1e-5, rtol=1e-5)


def test_layer_norm_is_computed_in_fp32() -> None:
    x, gain, bias = (300 * torch.randn(4, 64)).half(), torch.randn(64).half(), torch.randn(64).half()
    want = F.layer_norm(x.double(), (64,), gain.double(), bias.double(), 1e-12)
    got = layer_norm(x, gain, bias, 1e-12)
    assert got.dtype is torch.float32
    torch.testing.assert_close(got.double(), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh"])
def test_activations_are_those_of_transformers_by_the_configs_names(name: str) -> None:
    x = torch.linspace(-8, 8, 1001)
    got = ACTIVATIONS[activation({"hidden_act": name})](x)
    torch.testing.assert_close(got, ACT2FN[name](x), atol=1e-6, rtol=1e-6)


@given(num_rows=st.integers(0, 50), chunk_rows=st.integers(1, 20))
def test_chunks_cover_every_row_once(num_rows: int, chunk_rows: int) -> None:
    slices = list(chunks(num_rows, chunk_rows))
    assert [row for part in slices for row in range(num_rows)[part]] == list(range(num_rows))
    assert all(0 < part.stop - part.start <= chunk_rows for part in slices)
