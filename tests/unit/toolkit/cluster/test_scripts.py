from __future__ import annotations

import numpy as np
import pytest

from farthing.toolkit.cluster.scripts import MIN_TEXTS, without_writing, writing_of, writings_of


@pytest.mark.parametrize(
    ("text", "writing"),
    [
        ("How do I locate my card?", "LATIN"),
        ("Кто написал «Войну и мир»?", "CYRILLIC"),
        ("黑豹队以 24 次拦截领先 NFL。", "CJK"),
        ("日本で梅雨がないのは北海道とどこか。", "JAPANESE"),
        ("カード", "JAPANESE"),
        ("中文里有时也会引用日文的一个字，例如这里的の字。", "CJK"),
        ("한국어", "HANGUL"),
        ("12345 ...", "NONE"),
        ("", "NONE"),
    ],
)
def test_a_text_is_in_the_script_of_most_of_its_letters(text: str, writing: str) -> None:
    assert writing_of(text) == writing
    assert writings_of([text, "a"]).tolist() == [writing, "LATIN"]


def test_what_all_texts_of_a_script_have_in_common_is_taken_away() -> None:
    random = np.random.default_rng(0)
    meaning = random.standard_normal((MIN_TEXTS, 16)).astype(np.float32)
    one, other = (meaning + 5 * random.standard_normal(16).astype(np.float32) for _ in range(2))
    writings = np.array(["LATIN", "CJK"] * MIN_TEXTS)
    vectors = np.stack((one, other), axis=1).reshape(-1, 16)
    centred = without_writing(vectors, writings)
    np.testing.assert_allclose(centred[::2], centred[1::2], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(centred, axis=1), 1, rtol=1e-5)
    assert not np.shares_memory(centred, vectors)


def test_few_texts_of_a_script_are_centred_on_all_texts() -> None:
    vectors = np.random.default_rng(0).standard_normal((MIN_TEXTS + 1, 8)).astype(np.float32)
    centred = without_writing(vectors, np.array(["LATIN"] * MIN_TEXTS + ["CJK"]))
    wanted = vectors[-1] - vectors.mean(axis=0)
    np.testing.assert_allclose(centred[-1], wanted / np.linalg.norm(wanted), atol=1e-5)


def test_equal_vectors_stay_numbers() -> None:
    assert not without_writing(np.ones((60, 4), dtype=np.float32), np.array(["LATIN"] * 60)).any()
