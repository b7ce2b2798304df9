from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from farthing.core.errors import InputError
from farthing.toolkit.documents import limits
from farthing.toolkit.documents.document import Document
from farthing.toolkit.documents.inputs import Inputs
from farthing.toolkit.documents.limits import check_copies, check_ids, checked


@pytest.mark.parametrize(
    ("document", "param", "words"),
    [
        (Document("a" * 1025, "x"), "id", "has 1,025 characters; at most 1,024"),
        (Document("a", "x", title="t" * 1001), "title", "has 1,001 characters; at most 1,000"),
        (Document("a", "x", source="s" * 4097), "source", "has 4,097 characters; at most 4,096"),
        (Document("a", "x" * 10_000_001), "text", "has 10,000,001 characters; at most 10,000,000"),
        (Document("a", "x", metadata={str(n): n for n in range(257)}), "metadata", "has 257 fields; at most 256"),
        (Document("a", "x", metadata={"n" * 257: 1}), "metadata", "a name of 257 characters; at most 256"),
        (Document("a", "x", metadata={"n": "é" * 33_000}), "metadata", "takes 66,001 bytes; at most 65,536"),
        (Document("a", "x", metadata={"n": 10**200_000}), "metadata", "bytes; at most 65,536"),
        (Document("a", "x", metadata={"n": ["t"] * 257}), "metadata", "a list of 257 values; at most 256 are taken"),
        (
            Document("a", "x", metadata={f"{number:02}": [""] * 256 for number in range(32)}),
            "metadata",
            "takes 65,600 bytes; at most 65,536",
        ),
        (Document("a", "x", metadata={"n": ["é" * 33_000]}), "metadata", "takes 66,001 bytes; at most 65,536"),
    ],
)
def test_what_is_too_large_is_refused_with_both_numbers(document: Document, param: str, words: str) -> None:
    with pytest.raises(InputError) as raised:
        checked(document)
    assert raised.value.param == param
    assert words in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": 1}, "is of type dict; metadata is text, a number, true or false, or a list of these"),
        ({"x", "y"}, "is of type set; metadata is text"),
        (b"x", "is of type bytes"),
        (["x", ["y"]], "is a list with a value of type list; metadata is"),
        ([{"a": 1}], "is a list with a value of type dict"),
    ],
)
def test_what_could_not_be_asked_for_is_no_metadata(value: Any, words: str) -> None:
    with pytest.raises(InputError) as raised:
        checked(Document("a", "x", metadata={"n": value}))
    assert raised.value.param == "metadata"
    assert f"The field 'n' of the metadata of document 'a' {words}" in str(raised.value)


@pytest.mark.parametrize("text", ["", " \t\r\n", "\u3000\u00a0\u2028", "\ufeff\u200b \u200d\u2060", " " * 100_000])
def test_what_has_nothing_to_be_seen_has_no_text(text: str) -> None:
    with pytest.raises(InputError, match="document 'a' has no text") as raised:
        checked(Document("a", text))
    assert raised.value.param == "text"
    assert checked(Document("a", f"{text}.{text}"))


def test_every_white_space_there_is_counts_as_none() -> None:
    assert set(filter(str.isspace, map(chr, range(sys.maxunicode + 1)))) <= set(limits.UNSEEN)


def test_a_kind_that_is_not_known_is_refused() -> None:
    with pytest.raises(InputError, match="'cobol'; it must be text, markdown or one of bash") as raised:
        checked(Document("a", "x", kind="cobol"))
    assert raised.value.param == "kind"


def test_two_documents_of_one_id_must_be_the_same() -> None:
    one = Document("a", "x", metadata={"y": 1})
    check_ids([one, Document("b", "x"), Document("a", "x", metadata={"y": 1})])
    check_ids([Document("a", "x", metadata={"y": [1, "b"]})] * 2)
    with pytest.raises(InputError):
        check_ids([Document("a", "x", metadata={"y": [1]}), Document("a", "x", metadata={"y": [True]})])
    for other in (Document("a", "y", metadata={"y": 1}), Document("a", "x", metadata={"y": True})):
        with pytest.raises(InputError, match=r"documents\[2\] has the id 'a', as documents\[0\] has") as raised:
            check_ids([one, Document("b", "x"), other])
        assert raised.value.param == "documents[2].id"


def test_what_is_as_large_as_can_be_is_taken() -> None:
    metadata = {f"{number:03}": "x" * 252 for number in range(256)}
    largest = Document("i" * 1024, "x" * 10_000_000, "t" * 1000, "s" * 4096, metadata=metadata)
    assert checked(largest) is largest


def test_what_passages_repeat_stays_in_proportion_to_the_text() -> None:
    document = Document("a", "x" * 100_000, source="s" * 4096)
    check_copies(document, 100, 110_000)
    with pytest.raises(InputError, match=r"each of its 1,000 passages, which are 4,\d{3},\d{3} characters"):
        check_copies(document, 1000, 110_000)


def test_a_single_passage_repeats_nothing() -> None:
    check_copies(Document("a", "x", "t" * 1000, "s" * 4096, metadata={"n": "x" * 60_000}), 1, 1)


def test_a_title_out_of_a_file_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.md").write_text(f"---\ntitle: {'long ' * 500}\n---\ntext\n")
    Path("b.jsonl").write_text(json.dumps({"text": "x", "title": "long " * 500}))
    titles = [document.title for document in Inputs(["a.md", "b.jsonl"])]
    assert titles == [("long " * 200).rstrip()] * 2


def test_a_file_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    with Path("a/large.txt").open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    Path("a/small.txt").write_text("text")
    inputs = Inputs(["a"])
    assert [document.id for document in inputs] == ["a/small.txt"]
    assert "has more than 40,000,000 bytes" in inputs.left_out.files["a/large.txt"]
    assert limits.MAX_TEXT_CHARS == 10_000_000
