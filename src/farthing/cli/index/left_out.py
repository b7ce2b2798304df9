"""Says what in the inputs of `farthing index add` was not added to the index, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from farthing.cli.common.data_options import MOST_LISTED, left_out_lines
from farthing.toolkit.bulk.progress import counted
from farthing.toolkit.records.not_text import format_named

if TYPE_CHECKING:
    from farthing.toolkit.documents.reading.records import LeftOut


def not_taken(left_out: LeftOut) -> list[str]:
    lines = left_out_lines(left_out.records)
    lines += [f"Not read: {message}" for message in list(left_out.files.values())[:MOST_LISTED]]
    if len(left_out.files) > MOST_LISTED:
        lines.append(f"Not read: {len(left_out.files) - MOST_LISTED:,} files more.")
    if left_out.guesses:
        each = listed(f"{name} as {encoding}" for name, encoding in left_out.guesses.items())
        lines.append(f"Not UTF-8, and read by a guess: {each}.")
    lines += left_out.remarks[:MOST_LISTED]
    if len(left_out.remarks) > MOST_LISTED:
        lines.append(f"Of other files of records, {len(left_out.remarks) - MOST_LISTED:,} such remarks more.")
    lines += no_text(left_out.suffixes)
    if left_out.indexes:
        lines.append(f"Left out, since they are the files of an index: those of {listed(left_out.indexes)}.")
    if left_out.num_linked:
        lines.append(f"Not added twice: {counted(left_out.num_linked, 'link')} to files that are added themselves.")
    if left_out.links:
        lines.append(
            f"Links to folders are not followed: {listed(left_out.links)}. Name a folder itself to add what is in it."
        )
    for why, fields in left_out.fields.items():
        each = listed(f"{name} in {number:,}" for name, number in fields.items())
        lines.append(f"Left out, since they {why}: {each}.")
    return lines


def no_text(suffixes: Mapping[str, int]) -> list[str]:
    """Say which files of folders were left out by their suffixes, and how to add those that have text in them."""
    if not suffixes:
        return []
    most = sorted(suffixes.items(), key=lambda item: (-item[1], item[0]))
    each = listed((f"{suffix} {number:,}" for suffix, number in most), "kinds ")
    lines = [f"Left out as no text: {counted(sum(suffixes.values()), 'file')} ({each})."]
    known = {suffix: format_named(suffix) for suffix, _ in most}
    remedies: dict[str, list[str]] = {}
    for suffix, found in known.items():
        if found is not None and found.remedy:
            remedies.setdefault(found.remedy, []).append(suffix)
    lines += [f"To add {', '.join(those)}: {remedy}" for remedy, those in remedies.items()]
    if None in known.values():
        lines.append("What is text under another suffix is added when the file itself is named.")
    return lines


def listed(items: Iterable[str], what: str = "") -> str:
    """Return the first items with commas between them, and how many more there are."""
    every = list(items)
    more = f", and {len(every) - MOST_LISTED:,} {what}more" if len(every) > MOST_LISTED else ""
    return ", ".join(every[:MOST_LISTED]) + more
