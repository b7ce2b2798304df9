from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CODE = """
from pathlib import Path

import numpy as np

from farthing.core.space import VectorSpace
from farthing.server.indexes.catalogue import Catalogue
from farthing.serving.request import EmbedResult
from farthing.toolkit.stores.lance.shelf import LANCE_THREADS
from farthing.toolkit.documents.document import Document
from farthing.toolkit.index.index import VectorIndex

class Encoder:
    model, dimensions, context_length = "m", 4, 100
    space = VectorSpace("m", "f", "mean", 4, True)
    def count_tokens(self, text): return len(text)
    def encode_request(self, request, **_):
        num = len(request.inputs)
        return EmbedResult(np.eye(4, dtype=np.float32)[[0] * num], num, num, self.space)

catalogue = Catalogue(sys.argv[1])
VectorIndex.create(catalogue.database("a"), Encoder())
index = catalogue.open("a")
index.add([Document("1", "one wren")], Encoder())  # which starts threads of Lance's threads
found = {"lance": [], "others": []}
for task in Path("/proc/self/task").iterdir():
    fields = (task / "stat").read_text().rpartition(")")[2].split()
    is_lance = (task / "comm").read_text().startswith(LANCE_THREADS)
    found["lance" if is_lance else "others"].append(int(fields[16]))
print(json.dumps(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_threads_that_compute_for_searches_give_way_to_all_others(
    measured: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    found = measured(CODE, tmp_path)
    usual = min(found["others"])
    assert found["lance"]
    assert set(found["others"]) == {usual}
    assert all(niceness > usual for niceness in found["lance"])


OPENED = """
from pathlib import Path

from farthing.server.indexes.catalogue import Catalogue
from farthing.toolkit.index.words import Segmenter

before = set(sys.modules)
catalogue = Catalogue(sys.argv[1])
mapped = Path("/proc/self/maps").read_text()
print(json.dumps({"chinese": "rjieba" in set(sys.modules) - before, "japanese": "sudachidict" in mapped}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads what is mapped from /proc")
def test_dictionaries_are_loaded_before_there_are_clients_whom_that_would_hold_up(
    measured: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    assert measured(OPENED, tmp_path) == {"chinese": True, "japanese": True}
