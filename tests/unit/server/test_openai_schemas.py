from __future__ import annotations

import pytest

from farthing.core.errors import InputError
from farthing.server.dialects.openai.schemas import ITEMS_AT_A_TIME, check_items


@pytest.mark.parametrize("index", [0, ITEMS_AT_A_TIME - 1, ITEMS_AT_A_TIME, 2 * ITEMS_AT_A_TIME + 4])
def test_an_item_of_another_type_is_named_wherever_it_stands(index: int) -> None:
    items: list[object] = [1] * (2 * ITEMS_AT_A_TIME + 5)
    check_items("input", items, int, "token ids")
    items[index] = True
    with pytest.raises(InputError, match=rf"'input\[{index}\]' is a boolean; 'input' must hold only token ids here"):
        check_items("input", items, int, "token ids")
