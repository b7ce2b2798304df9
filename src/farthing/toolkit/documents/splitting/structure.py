"""Cuts a text where its structure allows: Markdown at headings and blocks, code at the units of its grammar, other text
at paragraphs and sentences. Neighbours are joined as long as they fit (https://github.com/benbrandt/text-splitter).

For some short texts this takes minutes, during which no other thread of the process runs. Callers therefore run it in a
process that can be ended (`split_process`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from farthing.toolkit.documents.document import MARKDOWN, PLAIN_TEXT
from farthing.toolkit.optional import needed

# Parsers take time that grows with the square of the nesting, and some recurse.
MAX_NESTING = 500
OPENING, CLOSING = frozenset("([{"), frozenset(")]}")


def structural_pieces(
    kind: str, text: str, max_tokens: int, overlap_tokens: int, count_tokens: Callable[[str], int]
) -> list[tuple[int, str]]:
    """The pieces of a text, each with the place of its first character."""
    pieces: list[tuple[int, str]] = splitter_for(kind, max_tokens, overlap_tokens, count_tokens).chunk_indices(text)
    return pieces


def splitter_for(kind: str, max_tokens: int, overlap_tokens: int, count_tokens: Callable[[str], int]) -> Any:
    from semantic_text_splitter import CodeSplitter, MarkdownSplitter, TextSplitter

    if kind == PLAIN_TEXT:
        return TextSplitter.from_callback(count_tokens, max_tokens, overlap_tokens)
    if kind == MARKDOWN:
        return MarkdownSplitter.from_callback(count_tokens, max_tokens, overlap_tokens)
    return CodeSplitter.from_callback(grammar_of(kind), count_tokens, max_tokens, overlap_tokens)


def require(kind: str) -> None:
    """Raise `MissingExtraError` where a package that this kind of text needs is not installed."""
    with needed("Splitting long documents"):
        find("semantic_text_splitter")
    if kind not in (PLAIN_TEXT, MARKDOWN):
        with needed(f"Splitting {kind}"):
            find(grammar_place(kind)[0])


def find(module: str) -> None:
    """Raise `ImportError` where there is no such module. It is not loaded here: a process of its own does that."""
    if find_spec(module) is None:
        raise ImportError(f"There is no module {module}.")


def grammar_of(language: str) -> Any:
    """The tree-sitter grammar of one of the languages in `kinds.LANGUAGES`."""
    module, function = grammar_place(language)
    return getattr(import_module(module), function)()


def grammar_place(language: str) -> tuple[str, str]:
    """The module that has the language's grammar, and the name of its function that returns the grammar."""
    package, function = {
        "php": ("php", "language_php"),
        "tsx": ("typescript", "language_tsx"),
        "typescript": ("typescript", "language_typescript"),
    }.get(language, (language, "language"))
    return f"tree_sitter_{package}", function


def is_nested_deeply(kind: str, text: str) -> bool:
    """Whether the brackets of code, or the lists and quotes of Markdown, nest deeper than `MAX_NESTING`."""
    if kind == PLAIN_TEXT:
        return False
    depths = markdown_depths(text) if kind == MARKDOWN else bracket_depths(text)
    return any(depth > MAX_NESTING for depth in depths)


def bracket_depths(text: str) -> Iterator[int]:
    """The depth at each opening bracket. Those in comments and strings count too: that is nearly always right, and
    quick."""
    depth = 0
    for letter in text:
        if letter in OPENING:
            depth += 1
            yield depth
        elif letter in CLOSING:
            depth = max(0, depth - 1)


def markdown_depths(text: str) -> Iterator[int]:
    """The approximate depth of each line with many leading marks: its marks of quotes and lists, and one for every two
    blanks."""
    for line in text.splitlines():
        marks = line[: len(line) - len(line.lstrip(" \t>-+*"))]
        if len(marks) > MAX_NESTING:
            num_blanks = marks.count(" ") + marks.count("\t")
            yield num_blanks // 2 + sum(marks.count(mark) for mark in (">", "- ", "+ ", "* "))
