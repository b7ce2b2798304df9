from __future__ import annotations

import time

import pytest

from farthing.toolkit.documents.reading.text import front_matter, markdown_title, rst_title
from farthing.toolkit.documents.splitting.headings import MAX_TITLE_CHARS, Heading, heading_of, headings

MANY = 200_000  # of these a regular expression that goes back and forth would take days


@pytest.mark.parametrize(
    ("line", "level", "title"),
    [
        ("# Use", 1, "Use"),
        ("### Use ###  \r\n", 3, "Use"),
        ("##\tUse it\t#", 2, "Use it"),
        ("# #", 1, "#"),
        ("# a # b", 1, "a # b"),
        ("####### Seven", 0, ""),
        ("#Use", 0, ""),
        ("#", 0, ""),
        ("#   ", 0, ""),
        (" # Use", 0, ""),
        ("Use", 0, ""),
        ("", 0, ""),
    ],
)
def test_a_heading_has_a_level_and_a_title(line: str, level: int, title: str) -> None:
    assert heading_of(line) == (level, title)


@pytest.mark.parametrize("middle", [" ", "#", " #", "# ", "\t"])
def test_long_runs_of_what_may_end_a_heading_cost_nothing(middle: str) -> None:
    assert heading_of("# a " + middle * MANY + "b")[0] == 1
    assert heading_of("# a " + middle * MANY)[1].startswith("a")
    assert markdown_title("# a" + middle * MANY + "b\n\ntext")[0].startswith("a")


def test_fenced_code_has_no_headings() -> None:
    text = "# One\n```sh\n# no\n```\n## Two\n    ```\n### Three"
    assert list(headings(text)) == [Heading(0, 1, "One"), Heading(21, 2, "Two"), Heading(36, 3, "Three")]
    assert markdown_title("```\n# no\n```\n# Yes\n")[0] == "Yes"


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("Intro.\n\n```bash\n# install deps\npip install x\n```\n\nMy Project\n==========\n\nText.\n", ["My Project"]),
        ("~~~~\n```\n# no\n~~~~\n# Yes\n", ["Yes"]),
        ("```\n# a comment\n```\n\n# Real Title\n\nBody.\n", ["Real Title"]),
        ("````md\n```\n# inner\n```\n# inner too\n````\n# Outer\n", ["Outer"]),
        ("~~~\n```\n~~~\n# One\n## Two\n", ["One", "Two"]),
        ("``` a`b\n# One\n", ["One"]),
        ("```\n# no\n``` x\n# no\n```   \n# One\n", ["One"]),
        ("```\n# never closed\n", []),
        ("One\n===\n\nTwo\n---\n\n---\n\nthree\n", ["One", "Two"]),
        ("First line\nsecond line\n======\n", ["First line second line"]),
        ("- item\n---\n1. item\n---\n> quote\n---\n| a |\n---\n<br>\n---\n    code\n---\n", []),
        ("Text\n\n===\n# One\n===\n", ["One"]),
        ("One\r\n===\r\n", ["One"]),
        ("a = b\n= = =\n", []),
    ],
)
def test_code_has_no_headings_and_underlined_lines_are_some(text: str, titles: list[str]) -> None:
    assert [heading.title for heading in headings(text)] == titles
    assert markdown_title(text)[0] == (titles[0] if titles else "")


def test_a_heading_of_underlined_lines_begins_with_the_first_of_them() -> None:
    assert list(headings("x\n\nOne\ntwo\n---\n")) == [Heading(3, 2, "One two")]


@pytest.mark.parametrize("line", ["x\n", "=\n", "x", "`", "~~~\n", "- ", "x\n=\n"])
def test_many_lines_take_time_that_grows_with_their_number_alone(line: str) -> None:
    started = time.monotonic()
    for heading in headings(line * MANY):
        assert len(heading.title) <= MAX_TITLE_CHARS
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("=====\nTitle\n=====\n\nText\n", "Title"),
        ("Text.\n\nTitle\n~~~~~\n", "Title"),
        ("Too long\n~~~\n", ""),
        ("a\n\n---\n\nb\n", ""),
        ("", ""),
    ],
)
def test_the_title_of_restructured_text_is_its_first_underlined_line(text: str, title: str) -> None:
    assert rst_title(text) == title


def test_a_long_title_of_a_section_is_cut() -> None:
    assert heading_of("# " + "word " * 1000) == (1, ("word " * 1000)[:MAX_TITLE_CHARS].rstrip())


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("---\na: b\nc\n---\nx", ["a: b", "c"]),
        ("---  \r\na: b\r\n---\r\nx", ["a: b"]),
        ("---\n---\nx", []),
        ("---\na: b\n", []),
        ("x\n---\na: b\n---\n", []),
        ("", []),
    ],
)
def test_front_matter_stands_between_lines_of_dashes(text: str, fields: list[str]) -> None:
    found, end = front_matter(text)
    assert (found, text[end:]) == (fields, "x" if text.endswith("---\nx") or text.endswith("---\r\nx") else text[end:])


@pytest.mark.parametrize(
    ("field", "title"),
    [
        ('title: "In quotes"', "In quotes"),
        ("title: 'In quotes'  ", "In quotes"),
        ("title: 'open", "'open"),
        ("title:plain", "plain"),
        ("title:\ntitle: second", "second"),
        ("subtitle: no", "Heading"),
        ("title: a" + " " * MANY + "b", "a" + " " * MANY + "b"),
    ],
)
def test_the_title_of_front_matter(field: str, title: str) -> None:
    assert markdown_title(f"---\n{field}\n---\n# Heading\n")[0] == title
