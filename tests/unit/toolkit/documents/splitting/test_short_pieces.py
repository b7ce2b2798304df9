from __future__ import annotations

from farthing.toolkit.documents.document import Document
from farthing.toolkit.documents.splitting.short_pieces import Piece, with_what_follows
from farthing.toolkit.documents.splitting.split import Splitter, Splitting

TEXT = "def f(x):\n    one two\n    three four\n    five six\n\nlast\n"
HEAD, BODY, LAST = (0, "def f(x):"), (10, "    one two\n    three four\n    five six"), (51, "last")


def count_words(text: str) -> int:
    return len(text.split())


def pieces(shared_tokens: int, max_tokens: int = 100, *given: Piece) -> list[Piece]:
    return list(with_what_follows(TEXT, given or (HEAD, BODY, LAST), max_tokens, shared_tokens, count_words))


def test_a_short_piece_has_the_first_lines_of_the_next() -> None:
    assert pieces(4) == [(0, "def f(x):\n    one two\n    three four"), BODY, LAST]
    assert pieces(3) == [(0, "def f(x):\n    one two"), BODY, LAST]


def test_nothing_is_put_behind_a_piece_that_is_not_short_nor_a_line_that_is_too_long() -> None:
    assert pieces(0) == pieces(1) == [HEAD, BODY, LAST]
    given = [(0, "a"), (2, "b c d e")]
    assert list(with_what_follows("a\nb c d e", given, 9, 3, count_words)) == given


def test_what_would_be_too_long_or_overlaps_already_stays_as_it_is() -> None:
    assert pieces(4, 5) == [HEAD, BODY, LAST]
    over = (4, TEXT[4:45])
    assert pieces(4, 100, HEAD, over) == [HEAD, over]
    assert list(with_what_follows("", [], 9, 4, count_words)) == []


def test_blank_lines_without_end_take_few_counts() -> None:
    num_counts = 0

    def count(text: str) -> int:
        nonlocal num_counts
        num_counts += 1
        return len(text.split())

    text = "a\n" + "\n" * 100_000 + "b"
    list(with_what_follows(text, [(0, "a"), (1, text[1:])], 100, 4, count))
    assert num_counts < 30


def test_the_first_line_of_a_long_function_does_not_stand_alone() -> None:
    body = "".join(f"    step_{number} = other_{number} + {number}\n" for number in range(40))
    code = f"import os\n\n\ndef rmtree(path):\n    '''Remove a folder.'''\n{body}\n\ndef last():\n    return 1\n"
    with Splitter(Splitting(60, 16), count_words) as splitter:
        parts = splitter.split(Document("a", code, kind="python"))
    assert all(count_words(part.text) <= 60 for part in parts)
    assert all(code[part.start : part.start + len(part.text)] == part.text for part in parts)
    (head,) = [part.text for part in parts if part.text.startswith("def rmtree(path):")]
    assert "Remove a folder." in head
    assert "step_0" in head
