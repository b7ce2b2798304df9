from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import ctypes, sys
import torch
from farthing.engine.memory import keep_no_large_buffers

class Facts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks",
                                                     "fsmblks", "uordblks", "fordblks", "keepcost")]

def num_mapped():
    call = ctypes.CDLL(None).mallinfo2
    call.restype = Facts
    return call().hblks

if sys.argv[1] == "called":
    keep_no_large_buffers()
torch.empty(20 * 2**20, dtype=torch.uint8)  # freed at once: up to this size glibc keeps buffers from now on
before = num_mapped()
kept = torch.empty(4 * 2**20, dtype=torch.uint8)
print(num_mapped() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
@pytest.mark.parametrize(("call", "num_mapped"), [("called", 1), ("not called", 0)])
def test_a_large_buffer_has_pages_of_its_own_whatever_was_freed_before(call: str, num_mapped: int) -> None:
    env = {name: value for name, value in os.environ.items() if name != "MALLOC_MMAP_THRESHOLD_"}
    done = subprocess.run([sys.executable, "-c", CODE, call], capture_output=True, text=True, check=True, env=env)
    assert int(done.stdout) == num_mapped
