from __future__ import annotations

import numpy as np
import pytest

from farthing.engine.weights.store import ResidentStore, StreamedStore

LAYERS = ["first", "second", "third"]


def test_layers_come_first_to_last_as_often_as_asked() -> None:
    store = ResidentStore(LAYERS)
    for _ in range(2):
        assert list(store.layers()) == LAYERS


def test_streamed_layers_are_read_ahead_and_let_go_when_the_next_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr("farthing.engine.weights.store.read_ahead", lambda array: done.append(f"ahead {int(array)}"))
    monkeypatch.setattr("farthing.engine.weights.store.let_go", lambda array: done.append(f"go {int(array)}"))

    def make(index: int) -> str:
        done.append(f"make {index}")
        return LAYERS[index]

    store = StreamedStore(make, lambda index: iter([np.array(index)]), len(LAYERS))
    first = store.layers()
    assert done == []
    next(first)
    assert done == ["ahead 0", "ahead 1", "make 0"]
    next(first)
    assert done[3:] == ["go 0", "ahead 2", "make 1"]
    assert list(store.layers()) == LAYERS
