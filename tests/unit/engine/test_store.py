from __future__ import annotations

import torch

from farthing.engine.store import ResidentStore, StreamedStore
from farthing.models.family import LayerWeights

CPU = torch.device("cpu")
LAYERS = [LayerWeights({}, {"norm": torch.full((2,), float(number))}) for number in range(3)]


def test_embeddings_are_gathered_by_id_in_the_tables_own_type() -> None:
    table = torch.arange(10.0).bfloat16().view(5, 2)
    got = ResidentStore(table, {}, [], CPU).gather(torch.tensor([4, 0, 4]))
    assert got.dtype is torch.bfloat16
    assert got.tolist() == [[8.0, 9.0], [0.0, 1.0], [8.0, 9.0]]


def test_gathered_rows_may_be_changed_without_changing_the_table() -> None:
    table = torch.ones(3, 2)
    store = ResidentStore(table, {}, [], CPU)
    store.gather(torch.tensor([0, 1, 2])).zero_()
    assert torch.equal(table, torch.ones(3, 2))


def test_layers_come_first_to_last_as_often_as_asked() -> None:
    store = ResidentStore(torch.ones(1, 2), {}, LAYERS, CPU)
    for _ in range(2):
        assert [layer.vector["norm"][0].item() for layer in store.layers()] == [0.0, 1.0, 2.0]


def test_shared_vectors_are_those_given() -> None:
    shared = {"norm": torch.ones(2)}
    assert ResidentStore(torch.ones(1, 2), shared, [], CPU).shared is shared


def test_streamed_layers_are_made_when_their_turn_comes_and_again_for_each_pass() -> None:
    made: list[int] = []

    def make(index: int) -> LayerWeights:
        made.append(index)
        return LAYERS[index]

    store = StreamedStore(torch.ones(1, 2), {}, make, len(LAYERS), CPU)
    first = store.layers()
    assert made == []
    next(first)
    assert made == [0]
    assert list(store.layers()) == LAYERS
    assert made == [0, 0, 1, 2]
