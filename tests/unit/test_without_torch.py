"""What a CPU needs imports no torch: checkpoints and weight formats."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys

sys.modules["torch"] = None  # importing it is an error from here on
import farthing.checkpoint.files
import farthing.checkpoint.writer
import farthing.quant.formats
import farthing.quant.rotation
from farthing.quant.formats import FORMATS

print(list(FORMATS), "torch" in sys.modules and sys.modules["torch"])
"""


def test_checkpoints_and_formats_do_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['fp32', 'bf16', 'fp16', 'int8', 'nf4', 'fp8'] None"
