from __future__ import annotations

from pathlib import Path

import pytest
import torch

from farthing.engine.weights.store import GATHER_ROWS, HostStore, ResidentStore, StreamedStore
from farthing.models.forward.forward_pass import LayerWeights

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


@pytest.mark.gpu
def test_a_table_on_a_card_is_gathered_from_there() -> None:
    card = torch.device("cuda", 0)
    table = torch.arange(10.0, device=card).view(5, 2)
    got = ResidentStore(table, {}, [], card).gather(torch.tensor([4, 0, 4]))
    assert got.device == card
    assert got.tolist() == [[8.0, 9.0], [0.0, 1.0], [8.0, 9.0]]


def test_layers_come_first_to_last_as_often_as_asked() -> None:
    store = ResidentStore(torch.ones(1, 2), {}, LAYERS, CPU)
    for _ in range(2):
        assert [layer.vector["norm"][0].item() for layer in store.layers()] == [0.0, 1.0, 2.0]


def test_shared_vectors_are_those_given() -> None:
    shared = {"norm": torch.ones(2)}
    assert ResidentStore(torch.ones(1, 2), shared, [], CPU).shared is shared


@pytest.mark.parametrize("count", [1, GATHER_ROWS, 2 * GATHER_ROWS + 1])
def test_a_mapped_table_whose_pages_are_let_go_is_gathered_from_as_before(tmp_path: Path, count: int) -> None:
    table, ids = torch.randn(5000, 16), torch.randint(0, 5000, (count,))
    table.numpy().tofile(tmp_path / "table")
    mapped = torch.from_file(str(tmp_path / "table"), size=table.numel()).view(5000, 16)
    store = ResidentStore(mapped, {}, [], CPU, keeps_table=False)
    for _ in range(2):
        assert torch.equal(store.gather(ids), table[ids])


def test_streamed_layers_are_read_ahead_and_let_go_when_the_next_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr("farthing.engine.weights.store.read_ahead", lambda tensor: done.append(f"ahead {int(tensor)}"))
    monkeypatch.setattr("farthing.engine.weights.store.let_go", lambda tensor: done.append(f"go {int(tensor)}"))

    def make(index: int) -> LayerWeights:
        done.append(f"make {index}")
        return LAYERS[index]

    store = StreamedStore(
        torch.ones(1, 2), {}, make, lambda index: iter([torch.tensor(index)]), len(LAYERS), CPU, keeps_table=True
    )
    first = store.layers()
    assert done == []
    next(first)
    assert done == ["ahead 0", "ahead 1", "make 0"]
    next(first)
    assert done[3:] == ["go 0", "ahead 2", "make 1"]
    assert list(store.layers()) == LAYERS


def test_layers_on_the_host_come_copied_in_turn_into_two_slots() -> None:
    on_host = [{("vectors", "norm"): torch.full((2,), float(number))} for number in range(5)]
    store = HostStore(
        torch.ones(1, 2), {}, on_host, lambda found: LayerWeights({}, {"norm": found["vectors", "norm"]}), CPU
    )
    for _ in range(2):
        seen = []
        for number, layer in enumerate(store.layers()):
            assert layer.vector["norm"].tolist() == [number, number]
            seen.append(layer.vector["norm"].data_ptr())
        assert seen[0] == seen[2] == seen[4] != seen[1] == seen[3]
