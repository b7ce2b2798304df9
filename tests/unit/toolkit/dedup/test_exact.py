from __future__ import annotations

from farthing.toolkit.dedup.exact import first_of_each, found_in


def test_each_text_points_to_the_first_in_the_order() -> None:
    texts = ["a", "b", "A", "a ", "B"]
    firsts, by_digest = first_of_each(texts, [4, 3, 2, 1, 0])
    assert firsts.tolist() == [3, 4, 3, 3, 4]
    assert found_in(["c", " b", "a"], by_digest).tolist() == [-1, 4, 3]


def test_what_is_no_text_is_left_to_what_embeds_it() -> None:
    firsts, _ = first_of_each(["\ud800", "\ud800"], range(2))
    assert firsts.tolist() == [0, 0]
