"""Print the pip option that leads to torch's CPU build, where that is the right one.

On Linux the package index offers a torch that pulls gigabytes of CUDA packages. Without an NVIDIA GPU the CPU build
from PyTorch's own index is taken instead; where that index cannot be reached, pip's configured indexes decide.
"""

from __future__ import annotations

import shutil
import sys
import urllib.error
import urllib.request

CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def reachable(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/torch/", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    if sys.platform == "linux" and shutil.which("nvidia-smi") is None and reachable(CPU_INDEX):
        print(f"--extra-index-url {CPU_INDEX}")
