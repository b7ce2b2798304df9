"""What all tests share: marks that skip visibly, and the models they run on."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest


def take_own_processors() -> None:
    """Where several processes run tests, give this one its share of the processors, before torch counts them; or, where
    there are more processes than processors, one thread to compute with.

    Threads that wait for each other in turns would otherwise wait for those of the other processes, too.
    """
    worker, count = os.environ.get("PYTEST_XDIST_WORKER", ""), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if worker and hasattr(os, "sched_setaffinity"):
        processors, number = sorted(os.sched_getaffinity(0)), int(worker.removeprefix("gw"))
        if count > len(processors):
            os.environ.setdefault("OMP_NUM_THREADS", "1")
        else:
            os.sched_setaffinity(0, processors[number::count])


take_own_processors()

import torch  # noqa: E402

import tiers  # noqa: E402
from farthing.checkpoint import remembered  # noqa: E402
from farthing.core.errors import ModelError  # noqa: E402
from farthing.core.files import FARTHING_CACHE  # noqa: E402
from farthing.core.settings import SourceSettings  # noqa: E402
from farthing.models.synth.checkpoint import find_shape, write_synthetic  # noqa: E402
from farthing.serving.quantising import prepared  # noqa: E402
from farthing.sources.find import find_model  # noqa: E402

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported, by whichever test or library that is


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow", action="store_true", help="run the tests marked slow too, and all examples of the others"
    )


def pytest_configure(config: pytest.Config) -> None:
    tiers.FULL = bool(config.getoption("--slow"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU here"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cache of this run alone, so that no model is taken that another version has prepared; downloads are shared."""
    with suppress(ModelError):  # the tests that need it say so
        find_model("starter", SourceSettings(), show_progress=False)
    own, shared = tmp_path_factory.mktemp("cache"), Path(FARTHING_CACHE).expanduser()
    for folder in shared.iterdir() if shared.is_dir() else ():
        if folder.name not in ("prepared", "fingerprints"):
            (own / folder.name).symlink_to(folder)
    os.environ["FARTHING_CACHE_DIR"] = str(own)  # of the programs that tests start
    prepared.FARTHING_CACHE = remembered.FARTHING_CACHE = str(own)  # of this one


@pytest.fixture(scope="session")
def in_full(request: pytest.FixtureRequest) -> bool:
    """Whether tests take as many examples as they have; without --slow some take a part."""
    return bool(request.config.getoption("--slow"))


@pytest.fixture(scope="session")
def tiny_qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3-Embedding checkpoint of four narrow layers with seeded random weights."""
    path = tmp_path_factory.mktemp("models") / "qwen3-tiny"
    write_synthetic(find_shape("qwen3-tiny"), path)
    return path


@pytest.fixture(scope="session")
def tiny_reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3-Reranker checkpoint of four narrow layers with seeded random weights."""
    path = tmp_path_factory.mktemp("models") / "qwen3-reranker-tiny"
    write_synthetic(find_shape("qwen3-reranker-tiny"), path)
    return path


@pytest.fixture(scope="session")
def starter_dir() -> Path:
    """all-MiniLM-L6-v2 with its real weights; downloaded once, then kept in the user's cache."""
    return find_model("starter", SourceSettings(), show_progress=False).path


@pytest.fixture(scope="session")
def e5_dir() -> Path:
    """A real multilingual-e5-small, in the folder that FARTHING_TEST_MODELS names."""
    folder = os.environ.get("FARTHING_TEST_MODELS")
    path = Path(folder or "/nonexistent") / "multilingual-e5-small-q4"
    if not (path / "model.safetensors").is_file():
        pytest.skip("set FARTHING_TEST_MODELS to a folder that holds multilingual-e5-small-q4")
    return path
