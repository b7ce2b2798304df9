"""Reads the records of a JSON Lines file, from which labelled sets are made.

In: a file. Out: its records, each with its line number, and checked columns of them. Whole files are held in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from farthing.core.deferred import dataclass
from farthing.core.errors import InputError
from farthing.serving.request import InputType
from farthing.toolkit.records.fields import require_field, require_text
from farthing.toolkit.records.lines import Lines
from farthing.toolkit.records.read_lines import JsonLine, empty, json_line, json_object, tried
from farthing.toolkit.records.skipped import STRICT, Skipped

# Takes the value of a record's field, given the record, the field and the record's place. Raises `InputError` where the
# field is missing or has the wrong type.
Take = Callable[[Mapping[str, object], str, str], object]


@dataclass(frozen=True, eq=False)
class SetPart:
    """Texts of a set that are all embedded in the same way.

    Attributes:
        input_type: None for texts that are neither queries nor documents.
        place: gives for an index where the text is in the input, for messages: "Line 3 of scifact/corpus.jsonl".
    """

    texts: Sequence[str]
    input_type: InputType | None
    place: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Records:
    """
    Attributes:
        source: folder and name of the file, for messages.
        lines: the line number of each record, from 1.
    """

    source: str
    lines: Sequence[int]
    objects: Sequence[Mapping[str, object]]

    def place(self, index: int) -> str:
        return f"Line {self.lines[index]} of {self.source}"

    def texts(self, field: str) -> list[str]:
        """Return the strings of a field. Raises `InputError` for a record without the field, or with another type."""
        return [text_of(record, field, self.place(index)) for index, record in enumerate(self.objects)]

    def numbers(self, field: str) -> list[float]:
        """Return the numbers of a field. Raises `InputError` for a record without the field, or with another type."""
        return [number_of(record, field, self.place(index)) for index, record in enumerate(self.objects)]

    def labels(self, field: str) -> list[str]:
        """Return the labels of a field, strings or whole numbers. Raises `InputError` as `texts` does."""
        return [label_of(record, field, self.place(index)) for index, record in enumerate(self.objects)]

    def ids(self) -> list[str]:
        """Return the ids, from `_id` or `id`, as strings. Raises `InputError` for a record without an id."""
        return [id_of(record, "id", self.place(index)) for index, record in enumerate(self.objects)]

    def part(self, field: str, input_type: InputType | None = None) -> SetPart:
        return SetPart(self.texts(field), input_type, self.place)


def text_of(record: Mapping[str, object], field: str, place: str) -> str:
    require_field(list(record), field, place)
    return require_text(record[field], field, place)


def number_of(record: Mapping[str, object], field: str, place: str) -> float:
    require_field(list(record), field, place)
    value = record[field]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"{place}: the field {field!r} is {value!r}; a score is a number.")
    return float(value)


def label_of(record: Mapping[str, object], field: str, place: str) -> str:
    require_field(list(record), field, place)
    value = record[field]
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise InputError(f"{place}: the field {field!r} is {value!r}; a label is a string or a whole number.")
    return str(value)


def id_of(record: Mapping[str, object], field: str, place: str) -> str:
    """Return the id in the field, or in the field of that name with an underscore before it."""
    if f"_{field}" not in record:
        require_field(list(record), field, place)
    return str(record.get(f"_{field}", record.get(field)))


def read_records(path: Path, skipped: Skipped, fields: Mapping[str, Take]) -> Records:
    """Read the records of a file. Blank lines are left out.

    So are lines that are not UTF-8 or no JSON object, records without one of the `fields`, and records whose id (a
    field taken by `id_of`) came before. `skipped` is told of each of these, and may end the reading with an error.

    Raises:
        EmptyInputError: there are no records.
        InputError: a record is wrong and `skipped` is strict, or all records are wrong; the message names the first.
    """
    objects: list[Mapping[str, object]] = []
    numbers: list[int] = []
    ids: dict[str, int] = {}
    first_error: InputError | None = None
    with path.open("rb") as stream:
        lines = Lines(stream, source_of(path))
        found = tried(filter(None, map(str.strip, lines)), lambda content: json_line(content, lines))
        for item in found:
            try:
                if isinstance(item, InputError):
                    raise item
                for name, take in fields.items():
                    take(item.fields, name, item.place)
                if id_of in fields.values():
                    check_id(id_of(item.fields, "id", item.place), item, ids)
            except InputError as error:
                first_error = first_error or error
                skipped.add(error)
                continue
            objects.append(item.fields)
            numbers.append(item.number)
        if not objects:
            raise first_error or empty(lines)
    return Records(lines.source, numbers, objects)


def check_id(name: str, item: JsonLine, lines: dict[str, int]) -> None:
    """Add the id `name` to `lines`, the line of each id so far. Raises `InputError` when it is there already."""
    if name in lines:
        raise InputError(f"{item.place} has the id {name!r} of line {lines[name]}; ids must differ.")
    lines[name] = item.number


def first_fields(path: Path) -> set[str]:
    """Return the fields' names of the first record that can be read. Raises `InputError` when there is none."""
    with path.open("rb") as stream:
        lines = Lines(stream, source_of(path))
        first_error: InputError | None = None
        for item in tried(filter(None, map(str.strip, lines)), lambda content: json_object(content, lines)):
            if not isinstance(item, InputError):
                return set(item)
            first_error = first_error or item
        raise first_error or empty(lines)


def source_of(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def json_lines_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.jsonl") if path.is_file())


@dataclass(frozen=True)
class Wanted:
    """
    Attributes:
        pairs: pairs of languages: of queries and corpus, or of the two sides of translations. Empty for each language
            with itself, and for all translations. Sets without languages are read in any case.
        max_queries: take only so many queries of each retrieval set, the first ones; None for all.
        skipped: is told of records that cannot be read; by default the first of them is an error.
    """

    pairs: Sequence[tuple[str, str]] = ()
    max_queries: int | None = None
    skipped: Skipped = field(default_factory=lambda: STRICT)
