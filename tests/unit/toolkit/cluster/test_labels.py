from __future__ import annotations

import numpy as np

from farthing.toolkit.cluster.labels import NUM_TERMS, characteristic_terms
from farthing.toolkit.cluster.scripts import writings_of

ENGLISH = {
    0: ["How do I change my PIN?", "Can I change the PIN of my card?", "I want to change my PIN", "PIN change please"],
    1: ["When will I get my refund?", "I want a refund for it", "How do I get refunds?", "My refund is not there"],
    2: ["The ATM swallowed my card", "My card was swallowed by an ATM", "ATM has swallowed it", "swallowed by the ATM"],
}
CHINESE = ["我的信用卡丢失了怎么办", "信用卡丢失以后应该找谁", "我们的信用卡也丢失了", "他的信用卡丢失了"]
JAPANESE = [
    "地震で津波が来た",
    "津波が地震の後に来ることがある",
    "地震と津波のことを知っている",
    "その地震の津波は高かった",
]

HINDI = ["मेरा क्रेडिट कार्ड खो गया", "क्रेडिट कार्ड खो गया है", "मेरा कार्ड खो गया, क्रेडिट कार्ड", "क्रेडिट कार्ड कहाँ है"]


def terms(groups: list[list[str]]) -> list[list[str]]:
    texts = [text for group in groups for text in group]
    clusters = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    return characteristic_terms(texts, clusters, writings_of(texts))


def test_a_cluster_is_labelled_by_its_own_words_as_they_are_written() -> None:
    found = terms(list(ENGLISH.values()))
    assert set(found[0][:2]) == {"PIN", "change"}
    assert found[1][0] == "refund"  # not the stem of it, and not "refunds", which is written less often
    assert set(found[2][:2]) == {"ATM", "swallowed"}
    assert all(len(words) <= NUM_TERMS for words in found)


def test_words_that_hyphens_join_stay_together() -> None:
    top_ups = ["My top-up failed", "top-up by e-mail", "Why was my top-up reverted?", "e-mail about a top up"]
    found = terms([*ENGLISH.values(), top_ups])[3]
    assert found[:2] == ["top-up", "e-mail"]
    assert "top" not in found  # said already


def test_words_that_say_nothing_do_not_win() -> None:
    said = {word.casefold() for words in terms([*ENGLISH.values(), CHINESE, JAPANESE]) for word in words}
    nothing = "how do i my the is a it by can want 我 的 了 我们 が の で こと ある いる する"
    assert not said & set(nothing.split())


def test_chinese_and_japanese_are_labelled_in_words() -> None:
    found = terms([CHINESE, JAPANESE, *ENGLISH.values()])
    assert set(found[0][:2]) == {"信用卡", "丢失"}
    assert set(found[1][:2]) == {"地震", "津波"}


def test_words_with_marks_are_labels_as_a_whole() -> None:
    (found, *_) = terms([HINDI, *ENGLISH.values()])
    assert {"क्रेडिट", "कार्ड"} <= set(found)
    assert set(found) <= {word.strip(",") for text in HINDI for word in text.split()}


def test_a_cluster_of_two_languages_is_labelled_in_both() -> None:
    lost = ["My credit card is lost", "lost credit card", "I lost a credit card", "credit card lost yesterday"]
    found = terms([CHINESE + lost, *ENGLISH.values()])
    assert {"信用卡", "丢失", "lost", "credit"} <= set(found[0])


def test_noise_says_nothing_and_a_cluster_without_words_has_no_terms() -> None:
    texts = ["123", "!!!", "refund", "refund", "noise"]
    assert characteristic_terms(texts, np.array([0, 0, 1, 1, -1]), writings_of(texts)) == [[], ["refund"]]
    assert characteristic_terms(["a", "b"], np.array([-1, -1]), writings_of(["a", "b"])) == []


def test_a_word_that_all_clusters_have_stands_behind_one_of_its_own() -> None:
    found = terms(
        [["card refund", "refund card", "card"], ["PIN card", "card PIN", "card"], ["card", "ATM card", "ATM card"]]
    )
    assert [words[:2] for words in found] == [["refund", "card"], ["PIN", "card"], ["ATM", "card"]]
