from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.core.errors import InputError
from farthing.toolkit.documents.document import Document
from farthing.toolkit.documents.kinds import KINDS, LANGUAGES
from farthing.toolkit.documents.splitting.split import Part, Splitter, Splitting, splitting_for
from farthing.toolkit.documents.splitting.structure import grammar_of
from tiers import examples

GUIDE = """# The guide

What it is for.

## Install

{install}

### On Windows

{windows}

```sh
# not a heading
```

## Use

{use}
""".format(install="First this. " * 12, windows="Then that. " * 12, use="Call it. " * 12)
SMALL = Splitting(max_tokens=40, overlap_tokens=0)


def count_words(text: str) -> int:
    return len(text.split())


def parts_of(document: Document, splitting: Splitting = SMALL) -> list[Part]:
    with Splitter(splitting, count_words) as splitter:
        return splitter.split(document)


def assert_nothing_is_lost(text: str, parts: list[Part]) -> None:
    covered = set()
    for part in parts:
        assert text[part.start : part.start + len(part.text)] == part.text
        covered.update(range(part.start, part.start + len(part.text)))
    assert all(index in covered for index, letter in enumerate(text) if not letter.isspace())


def test_a_document_that_fits_is_one_part() -> None:
    assert parts_of(Document("a", "\n\n a few words \n")) == [Part("a few words", 3, 3, "")]


def test_nothing_but_white_space_has_no_parts() -> None:
    assert parts_of(Document("a", " \n\t")) == []


@pytest.mark.parametrize("kind", ["text", "markdown", *LANGUAGES])
def test_parts_stand_in_the_document_where_they_say_and_fit(kind: str) -> None:
    document = Document("a", GUIDE, kind=kind)
    parts = parts_of(document)
    assert len(parts) > 2
    for part in parts:
        assert GUIDE[part.start : part.start + len(part.text)] == part.text
        assert part.line == GUIDE.count("\n", 0, part.start) + 1
        assert count_words(part.text) <= 40
    assert_nothing_is_lost(GUIDE, parts)


def test_markdown_is_split_at_headings_and_each_part_says_which_it_stands_under() -> None:
    parts = parts_of(Document("a", GUIDE, title="The guide", kind="markdown"))
    assert [(part.heading, part.text.split("\n")[0]) for part in parts if part.text.startswith("#")] == [
        ("", "# The guide"),
        ("Install", "## Install"),
        ("Install > On Windows", "### On Windows"),
        ("Use", "## Use"),
    ]


def test_code_is_split_between_functions() -> None:
    code = "\n\n\n".join(f"def f{number}(x):\n    return x + {number}\n" for number in range(20))
    parts = parts_of(Document("a", code, kind="python"))
    assert all(part.text.startswith("def ") for part in parts)
    assert parts[1].line > 1


def test_parts_of_long_text_overlap_as_far_as_asked() -> None:
    text = " ".join(f"Sentence number {number} stands here." for number in range(40))
    apart, over = parts_of(Document("a", text)), parts_of(Document("a", text), Splitting(40, 20))
    assert all(first.start + len(first.text) <= then.start for first, then in itertools.pairwise(apart))
    assert all(first.start + len(first.text) > then.start for first, then in itertools.pairwise(over))


def test_a_long_title_leaves_a_part_half_of_the_tokens() -> None:
    parts = parts_of(Document("a", "word " * 100, title="long " * 100))
    assert max(count_words(part.text) for part in parts) == 20


def test_the_title_is_counted_with_each_part() -> None:
    parts = parts_of(Document("a", "word " * 100, title="one two three four five"))
    assert max(count_words(part.text) for part in parts) == 35


@pytest.fixture(scope="module")
def splitter() -> Iterator[Splitter]:
    with Splitter(Splitting(16, 0), count_words) as opened:
        yield opened


@settings(max_examples=examples(40), deadline=None)
@given(st.text(max_size=300), st.sampled_from(["text", "markdown", "python"]))
def test_no_letter_of_any_text_is_lost(splitter: Splitter, text: str, kind: str) -> None:
    assert_nothing_is_lost(text, splitter.split(Document("a", text, kind=kind)))


def test_every_language_of_a_file_suffix_has_its_grammar() -> None:
    for kind in set(KINDS.values()) - {"text"}:
        assert grammar_of(kind) is not None


def test_the_default_follows_the_model_s_context() -> None:
    assert splitting_for(8192, None, None) == Splitting(384, 48)
    assert splitting_for(256, None, None) == Splitting(248, 31)
    assert splitting_for(8192, 1000, 0) == Splitting(1000, 0)


def test_a_context_that_is_not_known_is_no_limit() -> None:
    assert splitting_for(0, None, None) == Splitting(384, 48)
    assert splitting_for(0, 5000, 10) == Splitting(5000, 10)


@pytest.mark.parametrize(("max_tokens", "overlap"), [(300, None), (8, None), (100, 51), (100, -1)])
def test_a_splitting_that_makes_no_sense_is_refused(max_tokens: int, overlap: int | None) -> None:
    with pytest.raises(InputError, match="tokens is"):
        splitting_for(256, max_tokens, overlap)
