from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.core.errors import InvalidTokenError, TokenizerError
from farthing.models.synth.tokenizer import tokenizer_json
from farthing.serving.text.tokenizer import TextTokenizer

END = 151643
VOCAB = 151669


@pytest.fixture(scope="module")
def qwen3(tiny_qwen3: Path) -> TextTokenizer:
    return TextTokenizer(tiny_qwen3, vocab=VOCAB, end_token="<|endoftext|>")


@pytest.fixture(scope="module")
def bert(starter_dir: Path) -> TextTokenizer:
    return TextTokenizer(starter_dir, vocab=30522, end_token=None)


def test_qwen3_texts_end_with_endoftext(qwen3: TextTokenizer) -> None:
    assert qwen3.encode(["test", ""]) == [[116, 101, 115, 116, END], [END]]
    assert qwen3.special.before == ()
    assert qwen3.special.after == (END,)


def test_padding_and_truncation_of_the_file_are_off(bert: TextTokenizer) -> None:
    short, long = bert.encode(["a", "word " * 1000])
    assert short == [101, 1037, 102]
    assert len(long) == 1002


@pytest.mark.parametrize(
    ("ids", "completed"),
    [([7], [101, 7, 102]), ([101, 7], [101, 7, 102]), ([7, 102], [101, 7, 102]), ([101, 7, 102], [101, 7, 102])],
)
def test_special_tokens_are_added_where_missing(bert: TextTokenizer, ids: list[int], completed: list[int]) -> None:
    assert bert.complete(ids, 0) == completed


@pytest.mark.parametrize("wrong", [-1, VOCAB, 2**62])
def test_ids_outside_the_vocabulary_are_refused(qwen3: TextTokenizer, wrong: int) -> None:
    with pytest.raises(InvalidTokenError, match=f"Text 2 holds the token id {wrong}; .* 0 to 151668"):
        qwen3.complete([5, wrong], 2)


@given(length=st.integers(1, 40), limit=st.integers(3, 40))
def test_truncation_keeps_the_special_tokens(bert: TextTokenizer, length: int, limit: int) -> None:
    cut = bert.truncate([101, *range(1000, 1000 + length), 102], limit)
    assert len(cut) <= limit
    assert cut[0] == 101
    assert cut[-1] == 102


@given(length=st.integers(1, 40), limit=st.integers(3, 40))
def test_truncation_at_the_start_keeps_the_last_tokens(bert: TextTokenizer, length: int, limit: int) -> None:
    if length + 2 > limit:
        ids = [*range(1000, 1000 + length)]
        cut = bert.truncate([101, *ids, 102], limit, "start")
        assert cut == [101, *ids[length + 2 - limit :], 102]


def test_tokens_say_where_they_stand_in_bytes(bert: TextTokenizer) -> None:
    text = "é wren 日本"
    (tokens,) = bert.tokens([text])
    assert [token.special for token in tokens] == [True, *[False] * (len(tokens) - 2), True]
    assert (tokens[0].text, tokens[0].start, tokens[0].stop) == ("[CLS]", None, None)
    assert [token.text for token in tokens[1:-1]] == ["é", "wren", "日", "本"]
    for token in tokens[1:-1]:
        assert text.encode()[token.start : token.stop].decode() == token.text
    assert bert.encode([text]) == [[token.id for token in tokens]]
    assert list(bert.tokens([text], add_special_tokens=False)) == [tokens[1:-1]]


def test_ids_become_texts_again(bert: TextTokenizer) -> None:
    ids = bert.encode(["a wren sings", "yes"])
    assert bert.decode(ids) == ["a wren sings", "yes"]
    assert bert.decode(ids, skip_special_tokens=False)[1] == "[CLS] yes [SEP]"
    with pytest.raises(InvalidTokenError, match="Text 1 holds the token id -1"):
        bert.decode([[1], [-1]])


def test_prefix_ids_go_behind_the_first_special_tokens(bert: TextTokenizer, qwen3: TextTokenizer) -> None:
    assert bert.insert_prefix([101, 7, 102], [5, 6]) == [101, 5, 6, 7, 102]
    assert qwen3.insert_prefix([7, END], [5, 6]) == [5, 6, 7, END]


def test_tokenizer_that_forgets_the_end_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(appends_end=False)))
    with pytest.raises(
        TokenizerError, match=r"ends texts with token None; this model needs 151643 \(<\|endoftext\|>\)"
    ):
        TextTokenizer(tmp_path, vocab=VOCAB, end_token="<|endoftext|>")


def test_tokenizer_that_ends_with_another_token_is_refused(tmp_path: Path) -> None:
    content = json.dumps(tokenizer_json(appends_end=True)["post_processor"])
    wrong = tokenizer_json(appends_end=True)
    wrong["post_processor"] = json.loads(content.replace("<|endoftext|>", "<|im_end|>").replace("151643", "151645"))
    (tmp_path / "tokenizer.json").write_text(json.dumps(wrong))
    with pytest.raises(TokenizerError, match="ends texts with token 151645; this model needs 151643"):
        TextTokenizer(tmp_path, vocab=VOCAB, end_token="<|endoftext|>")


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"has no tokenizer\.json"):
        TextTokenizer(tmp_path, vocab=VOCAB, end_token=None)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(TokenizerError, match="cannot be read"):
        TextTokenizer(tmp_path, vocab=VOCAB, end_token=None)


def test_letters_are_put_into_lower_case_before_all_else_where_asked(starter_dir: Path, tmp_path: Path) -> None:
    content = json.loads((starter_dir / "tokenizer.json").read_text())
    content["normalizer"]["lowercase"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    cased, lowered = (
        TextTokenizer(tmp_path, vocab=30522, end_token=None, lowercases=lowercases) for lowercases in (False, True)
    )
    assert cased.encode(["HELLO World"]) != cased.encode(["hello world"])
    assert lowered.encode(["HELLO World"]) == cased.encode(["hello world"])


@pytest.mark.parametrize("name", ["BertTokenizer", "BertTokenizerFast"])
def test_tokenizer_config_decides_over_the_lower_case_of_tokenizer_json(
    starter_dir: Path, tmp_path: Path, name: str
) -> None:
    content = json.loads((starter_dir / "tokenizer.json").read_text())
    content["normalizer"]["lowercase"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name, "do_lower_case": True}))
    got = TextTokenizer(tmp_path, vocab=30522, end_token=None).encode(["HELLO World"])
    assert got == TextTokenizer(starter_dir, vocab=30522, end_token=None).encode(["hello world"])
