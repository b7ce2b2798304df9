from __future__ import annotations

import torch

from farthing.engine.cards.host_store import HostStore
from farthing.models.torch_pass.start import LayerWeights


def test_layers_on_the_host_come_copied_in_turn_into_two_slots() -> None:
    on_host = [{("vectors", "norm"): torch.full((2,), float(number))} for number in range(5)]
    store = HostStore(on_host, lambda found: LayerWeights({}, {"norm": found["vectors", "norm"]}), torch.device("cpu"))
    for _ in range(2):
        seen = []
        for number, layer in enumerate(store.layers()):
            assert layer.vector["norm"].tolist() == [number, number]
            seen.append(layer.vector["norm"].data_ptr())
        assert seen[0] == seen[2] == seen[4] != seen[1] == seen[3]
