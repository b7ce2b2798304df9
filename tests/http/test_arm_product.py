"""All of farthing on ARM: the wheel, Debian's Python and the packages that farthing needs, all for arm64, run by an
emulator. Vectors are compared with those that this machine computes.

The first run downloads about 140 MB and compiles zig's C++ library, which takes three minutes.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from arm_user_land import NotHereError, UserLand, make_user_land
from processes import wait_for

from farthing import Embedder

KERNELS = {"max": "neon_i8mm", "neoverse-n1": "neon_dotprod", "cortex-a53": "portable"}  # of the emulator's CPUs
TEXTS = ["a wren sings in the garden", "the parcel was lost", "where is my parcel?", "ein Satz, " * 30, "a"]
TIMEOUT_S = 300  # of one program; but for the first in int8, they end within twenty seconds

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> UserLand:
    try:
        return make_user_land(tmp_path_factory.mktemp("arm"))
    except NotHereError as error:
        pytest.skip(f"needs an ARM user land: {error}")


@pytest.fixture(scope="module")
def exact(starter_dir: Path) -> np.ndarray:
    with Embedder(str(starter_dir), format="fp32") as embedder:
        return embedder.encode(TEXTS)


def run(arm: UserLand, cpu: str, *arguments: object) -> str:
    """What a command prints; fails the test where it fails."""
    done = subprocess.run(
        arm.command("-m", "farthing", *arguments),
        **options(arm, cpu),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def options(arm: UserLand, cpu: str) -> dict[str, Any]:
    """With a cache of the emulated machines: the first of them rounds the model to int8, which takes minutes."""
    return {"cwd": arm.place, "env": arm.environment(cpu, FARTHING_CACHE_DIR=arm.place / "cache")}


@pytest.mark.parametrize("cpu", KERNELS)
def test_the_best_kernels_of_a_cpu_are_taken(arm: UserLand, cpu: str) -> None:
    facts = json.loads(run(arm, cpu, "info", "--json"))
    assert "aarch64" in facts["versions"]["platform"]
    assert facts["formats"]["cpu_kernels"] == KERNELS[cpu]


@pytest.mark.parametrize(("weight_format", "least"), [("fp32", 0.99999), ("int8", 0.999)])
@pytest.mark.parametrize("cpu", KERNELS)
def test_texts_are_embedded(
    arm: UserLand, starter_dir: Path, exact: np.ndarray, cpu: str, weight_format: str, least: float
) -> None:
    texts, found = arm.place / "texts.jsonl", arm.place / f"{cpu}-{weight_format}.npy"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    run(arm, cpu, "embed", starter_dir, texts, "-o", found, "--format", weight_format)
    assert (np.load(found) * exact).sum(1).min() >= least


def test_a_server_answers(arm: UserLand, starter_dir: Path, exact: np.ndarray) -> None:
    log = arm.place / "log.txt"
    command = arm.command("-m", "farthing", "serve", starter_dir, "--port", "0")
    with log.open("w") as file:
        process = subprocess.Popen(
            command, **options(arm, "max"), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        wait_for(lambda: "\nReady" in log.read_text() or process.poll() is not None, TIMEOUT_S)
        listening = re.search(r"Listening on (\S+),", log.read_text())
        assert listening is not None, log.read_text()
        answer = httpx.post(f"{listening[1]}/v1/embeddings", json={"input": TEXTS}, timeout=TIMEOUT_S)
        answer.raise_for_status()
        process.terminate()
        assert process.wait(timeout=60) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    vectors = np.array([item["embedding"] for item in answer.json()["data"]])
    assert (vectors * exact).sum(1).min() >= 0.999
