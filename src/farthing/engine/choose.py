"""Which way to run a model: the first, in order of preference, that stays inside the memory.

In: settings, device facts, the model's shape. Out: every way there is with its ledger, and the choice with its reason. The
order keeps what users notice most: exact weights before quantised ones, then the longest texts, then layers on the
device before layers that are fetched for each batch. Nothing is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from farthing.core.errors import DoesNotFitError, SettingsError
from farthing.core.settings import EngineSettings
from farthing.core.sizes import mebibytes, parse_bytes
from farthing.engine.device import DeviceFacts
from farthing.engine.ledger import Ledger, ModelShape, Residency, Way, make_ledger
from farthing.models.spec import ModelSpec
from farthing.quant.format import WeightFormat
from farthing.quant.formats import FORMATS, weight_format

# A CPU is saturated by about a thousand tokens; more only makes others wait. A GPU wants many more.
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 4096, 16384
# Rows between two attentions at a time: bounds working memory without starving the matrix products.
CPU_CHUNK_TOKENS, GPU_CHUNK_TOKENS = 1024, 8192
# Fewest tokens of a text and of a batch that a plan goes down to on its own.
LEAST_TOKENS = 512
# Contexts shorter than this are not chosen to keep the weights exact.
EXACT_TOKENS = 2048
COMPUTE_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""
