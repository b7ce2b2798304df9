"""Models where there is no home folder, or one that cannot be written to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# A user without an entry in the system's list of users, as containers have them.
NOBODY = ("unshare", "--user", "--map-user=4321")


PLACES = ("HOME", "HF_HOME", "XDG_CACHE_HOME", "FARTHING_CACHE_DIR")


def farthing(*args: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("unshare") or subprocess.run([*NOBODY, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    kept = {name: value for name, value in os.environ.items() if name not in PLACES}
    command = [*NOBODY, sys.executable, "-m", "farthing", *map(str, args)]
    return subprocess.run(command, env={**kept, **variables}, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("name", ["starter", "Qwen/Qwen3-Embedding-0.6B"])
def test_without_a_home_the_message_says_what_to_set(name: str) -> None:
    done = farthing("plan", name, "--offline")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: There is no home folder for ~/.cache/huggingface/hub: HOME is not set")
    assert "Set HOME or HF_HOME, or give a folder for downloads with --cache-dir." in done.stderr


def test_without_a_home_the_hubs_folder_is_enough_for_what_comes_from_the_hub(tmp_path: Path) -> None:
    done = farthing("plan", "starter", "--offline", HF_HOME=str(tmp_path))
    assert done.returncode == 1
    assert f"Hugging Face cache ({tmp_path}/hub): no complete copy" in done.stderr
    assert "package index: There is no home folder for ~/.cache/farthing" in done.stderr


def test_without_a_home_a_local_folder_and_shapes_are_planned(tiny_qwen3: Path) -> None:
    for model in (tiny_qwen3, "qwen3-0.6b"):
        done = farthing("plan", model)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_tilde_without_a_home_is_a_name_that_does_not_exist() -> None:
    done = farthing("index", "info", "~/help")
    assert (done.returncode, "There is no index in ~/help" in done.stderr) == (1, True)


def test_a_home_that_cannot_be_written_to_is_said_with_the_remedy() -> None:
    index = {"PIP_INDEX_URL": "http://127.0.0.1:9", "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = farthing("pull", "starter", HOME="/proc/nothing", **index)
    assert done.returncode == 1
    assert "give a folder for downloads with --cache-dir" in done.stderr
