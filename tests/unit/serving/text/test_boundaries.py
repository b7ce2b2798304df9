"""A part of a long text has the tokens that it has in the whole, for every tokenizer that parts are taken with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from farthing.checkpoint.gguf.tokenizer import BYTE_LEVEL
from farthing.checkpoint.tokenizer_file import SPLITS
from farthing.serving.request import TextEnd
from farthing.serving.text import tokenizer as tokenizer_module
from farthing.serving.text.tokenizer import TextTokenizer

SENTENCES = [
    "The quick brown fox jumps over the lazy dog, and then it's asleep. 12345 wrens!",
    "Zürich, naïve café; Straße und Übermut. Ελληνικά γράμματα. Мой дядя самых честных правил.",
    "你好，世界。今天天气很好！我们去公园吧？ 東京タワーは高いです。 한국어 문장입니다.",
    "مرحبا بالعالم. שלום עולם. हिन्दी में लिखा है। ภาษาไทย ไม่มีช่องว่าง",
]
PARTS = [
    "word", "don't", "I'LL", "été", "e\u0301", "ﬁ", "ΟΔΟΣ", "你好", "。", "，", "日本語テキスト", "か\u3099", "한국어",
    "각", "مرحبا", "नमस्ते", "सुन्दर", "ไทย", "👨\u200d👩\u200d👧", "🏳️", "a" * 150, "x1y2" * 9, "12345", "½", "²", "_",
    "--", "...", "(", ")", "!", "?", ";", ":", ",", ".", "'s", "'", "<", "<\u0338", ">", "[MASK]", "<mask>",
    "<|endoftext|>", "</s>", "<keep>", " ", "  ", "\n", "\r\n", "\n\n", "\t", "\u00a0", "\u3000", "\u2028",
    "   \n  ", "\u0301", "\u0600", "\u0d4e", "\x00", "▁", "Ġ",
]  # fmt: skip


def byte_level_bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLITS["qwen2"]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(  # type: ignore[call-arg]
        vocab_size=600, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    tokenizer.add_tokens([AddedToken("<keep>", normalized=False)])
    end = tokenizer.token_to_id("<|endoftext|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", pair="$A $B <|endoftext|>", special_tokens=[("<|endoftext|>", end)]
    )
    return tokenizer


def gpt2_like() -> Tokenizer:
    tokenizer = byte_level_bpe()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


def unigram(splitter: Any) -> Tokenizer:
    """As XLM-R's, but for the table of its normaliser, which no library makes."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = splitter
    trainer = trainers.UnigramTrainer(
        vocab_size=400, unk_token="<unk>", special_tokens=["<s>", "</s>", "<unk>"], show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return tokenizer


def words_then_metaspace() -> Tokenizer:
    return unigram(pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]))


def metaspace() -> Tokenizer:
    return unigram(pre_tokenizers.Metaspace(prepend_scheme="first"))


MAKERS: list[Callable[[], Tokenizer]] = [byte_level_bpe, gpt2_like, words_then_metaspace, metaspace]


@pytest.fixture(scope="module")
def known(starter_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextTokenizer]:
    """Tokenizers that parts are taken with, by kind."""
    found = {"wordpiece": TextTokenizer(starter_dir, vocab=30522, end_token=None)}
    for make in MAKERS:
        folder = tmp_path_factory.mktemp(make.__name__)
        (folder / "tokenizer.json").write_text(make().to_str())
        found[make.__name__] = TextTokenizer(folder, vocab=1000, end_token=None)
    return found


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that texts of a few words are long."""
    monkeypatch.setattr(tokenizer_module, "LEAST_PART_CHARS", 1)


def texts() -> st.SearchStrategy[str]:
    arbitrary = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
    piece = st.sampled_from(PARTS) | arbitrary | st.sampled_from(["word ", "été,", "世界。", "12\n", "ก ", "مر "])
    return st.lists(piece, min_size=5, max_size=40).map("".join)


def assert_exact(tokenizer: TextTokenizer) -> None:
    boundaries, num_parts = tokenizer._boundaries, 0
    assert boundaries is not None

    @settings(max_examples=300, deadline=None)
    @given(
        text=texts(), limit=st.integers(3, 12), first_chars=st.integers(1, 20), where=st.sampled_from(["end", "start"])
    )
    def check(text: str, limit: int, first_chars: int, where: TextEnd) -> None:
        nonlocal num_parts
        whole = tokenizer.encode([text])[0]
        place = boundaries.last(text, len(text) * 2 // 3)
        if place is not None:
            first, second = tokenizer.encode_pieces([text[:place], text[place:]])
            assert [first + second] == tokenizer.encode_pieces([text])
        ((ids, is_part),) = tokenizer.encode_enough([text], limit, where, first_chars=first_chars)
        assert is_part or ids == whole
        assert (len(ids) > limit) == (len(whole) > limit)
        num_parts += is_part
        if len(whole) > limit:
            assert tokenizer.truncate(ids, limit, where) == tokenizer.truncate(whole, limit, where)

    check()
    assert num_parts > 10  # texts are made up anew in every run


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("kind", ["wordpiece", *(make.__name__ for make in MAKERS)])
def test_a_cut_text_has_the_ids_of_the_whole_one(known: dict[str, TextTokenizer], kind: str) -> None:
    assert_exact(known[kind])


@pytest.mark.usefixtures("small_parts")
def test_a_cut_text_has_the_ids_of_the_whole_one_for_a_published_sentencepiece_tokenizer(e5_dir: Path) -> None:
    assert_exact(TextTokenizer(e5_dir, vocab=250_037, end_token=None))


@pytest.mark.parametrize("kind", ["wordpiece", *(make.__name__ for make in MAKERS)])
def test_the_tokens_of_two_parts_are_those_of_the_whole_in_running_text(
    known: dict[str, TextTokenizer], kind: str
) -> None:
    tokenizer, num_places = known[kind], 0
    boundaries = tokenizer._boundaries
    assert boundaries is not None
    for sentence in SENTENCES:
        text = f"{sentence}\n{sentence} <mask> {sentence}[MASK] {sentence}"
        whole = tokenizer.encode_pieces([text])[0]
        for stop in range(len(text)):
            place = boundaries.last(text, stop)
            if place is not None:
                first, second = tokenizer.encode_pieces([text[:place], text[place:]])
                assert first + second == whole, text[:place]
                num_places += 1
    assert num_places > 100


@contextmanager
def asked_chars(tokenizer: TextTokenizer) -> Iterator[list[int]]:
    """Characters of each call of the library meanwhile."""
    asked: list[int] = []
    real = tokenizer._encode

    def encode(texts: Sequence[str], **rest: Any) -> Any:
        asked.append(sum(map(len, texts)))
        return real(texts, **rest)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tokenizer, "_encode", encode)
        yield asked


@pytest.mark.parametrize("where", ["end", "start"])
def test_a_text_to_be_cut_is_tokenised_as_far_as_it_is_kept(known: dict[str, TextTokenizer], where: TextEnd) -> None:
    text = "The wrens sing. " * 60_000
    for kind, tokenizer in known.items():
        with asked_chars(tokenizer) as asked:
            ((ids, is_part),) = tokenizer.encode_enough([text], 256, where, first_chars=2048)
        assert is_part
        assert len(ids) > 256
        assert sum(asked) < 30_000, kind


def test_texts_without_places_are_tokenised_whole(known: dict[str, TextTokenizer]) -> None:
    for text in ("a" * 20_000, " " * 20_000, "-" * 20_000, "你" * 20_000, "\u0301" * 20_000, "👍" * 20_000):
        for tokenizer in known.values():
            ((ids, is_part),) = tokenizer.encode_enough([text], 8, first_chars=8)
            assert not is_part
            assert ids == tokenizer.encode([text])[0]


@pytest.mark.parametrize("where", ["end", "start"])
def test_of_an_endless_run_without_places_a_part_is_tokenised(known: dict[str, TextTokenizer], where: TextEnd) -> None:
    for kind, tokenizer in known.items():
        for run in ("👍🏽🎉" * 40_000, "你好世界" * 40_000, "#=" * 200_000):
            whole = tokenizer.encode([run])[0]
            with asked_chars(tokenizer) as asked:
                ((ids, is_part),) = tokenizer.encode_enough([run], 256, where, first_chars=2048)
            if is_part:
                assert sum(asked) < len(run) / 2, kind
                assert tokenizer.truncate(ids, 256, where) == tokenizer.truncate(whole, 256, where), (kind, run[:4])
            else:
                assert ids == whole


def changed(**steps: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(byte_level_bpe().to_str())
    return content | steps


ADDED = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


@pytest.mark.parametrize(
    "content",
    [
        changed(normalizer={"type": "Prepend", "prepend": "x"}),
        changed(normalizer={"type": "Replace", "pattern": {"String": "a b"}, "content": "c"}),
        changed(normalizer={"type": "Strip", "strip_left": True, "strip_right": True}),
        changed(pre_tokenizer=None),
        changed(pre_tokenizer=BYTE_LEVEL | {"add_prefix_space": False}),
        changed(model=changed()["model"] | {"dropout": 0.1}),
        changed(added_tokens=[ADDED | {"id": 700, "content": "<x>", "rstrip": True}]),
        changed(added_tokens=[ADDED | {"id": 700, "content": ".x", "single_word": True}]),
        changed(added_tokens=[ADDED | {"id": 700, "content": "a \n\t.,;:!?()。、！，：；？"}]),
    ],
)  # fmt: skip
def test_of_tokenizers_that_are_not_known_well_enough_no_parts_are_taken(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(content | {"post_processor": None}))
    tokenizer = TextTokenizer(tmp_path, vocab=1000, end_token=None)
    assert tokenizer._boundaries is None
    text = "a wren sings " * 1000
    assert not tokenizer.encode_enough([text], 8, first_chars=8)[0].is_part
    # But of what is beyond all measure: the library needs 160 times the bytes, and all may be one word.
    endless = "a wren sings " * 20_000
    ((ids, is_part),) = tokenizer.encode_enough([endless], 8, first_chars=8)
    assert is_part
    assert len(ids) < 100_000
    if not content["model"].get("dropout"):  # which is chance
        assert tokenizer.truncate(ids, 8) == tokenizer.truncate(tokenizer.encode([endless])[0], 8)


def test_an_added_token_is_never_cut(tmp_path: Path) -> None:
    content = changed(added_tokens=[ADDED | {"id": 700, "content": "<a, b>"}], post_processor=None)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = TextTokenizer(tmp_path, vocab=1000, end_token=None)
    ((ids, is_part),) = tokenizer.encode_enough(["<a, b>." * 2000 + "a." * 40_000], 8, first_chars=4099)
    assert is_part
    assert ids[:9] == tokenizer.encode(["<a, b>." * 9])[0][:9]
