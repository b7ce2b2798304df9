"""Records of a JSON Lines file, as labelled sets are made of them.

In: a file. Out: its records with the line that each stands at, and columns of them that are checked. Whole files are
held in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from farthing.core.errors import InputError
from farthing.serving.request import InputType
from farthing.toolkit.records.fields import require_field, require_text
from farthing.toolkit.records.lines import Lines
from farthing.toolkit.records.read_lines import empty, json_object


@dataclass(frozen=True, eq=False)
class Part:
    """Texts of a set that are embedded in one way.

    Attributes:
        input_type: None for texts that are neither queries nor documents.
        place: where text `index` stands, for messages: "Line 3 of scifact/corpus.jsonl".
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
        lines: 1-based, of each record.
    """

    source: str
    lines: Sequence[int]
    objects: Sequence[Mapping[str, object]]

    def place(self, index: int) -> str:
        return f"Line {self.lines[index]} of {self.source}"

    def texts(self, field: str) -> list[str]:
        """The strings of a field. Raises `InputError` for a record without it, or with another type."""
        found = []
        for index, record in enumerate(self.objects):
            require_field(list(record), field, self.place(index))
            found.append(require_text(record[field], field, self.place(index)))
        return found

    def numbers(self, field: str) -> list[float]:
        """The numbers of a field. Raises `InputError` for a record without it, or with another type."""
        found = []
        for index, record in enumerate(self.objects):
            require_field(list(record), field, self.place(index))
            value = record[field]
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InputError(f"{self.place(index)}: the field {field!r} is {value!r}; a score is a number.")
            found.append(float(value))
        return found

    def labels(self, field: str) -> list[str]:
        """The labels of a field, strings or whole numbers. Raises `InputError` as `texts`."""
        found = []
        for index, record in enumerate(self.objects):
            require_field(list(record), field, self.place(index))
            value = record[field]
            if isinstance(value, bool) or not isinstance(value, (int, str)):
                raise InputError(
                    f"{self.place(index)}: the field {field!r} is {value!r}; a label is a string or a whole number."
                )
            found.append(str(value))
        return found

    def ids(self) -> list[str]:
        """Of `_id` or `id`, strings or whole numbers. Raises `InputError` for a record without one, or one's second."""
        seen: dict[str, int] = {}
        for index, record in enumerate(self.objects):
            if "_id" not in record:
                require_field(list(record), "id", self.place(index))
            found = str(record.get("_id", record.get("id")))
            if found in seen:
                raise InputError(
                    f"{self.place(index)} has the id {found!r} of line {self.lines[seen[found]]}; ids must differ."
                )
            seen[found] = index
        return list(seen)

    def part(self, field: str, input_type: InputType | None = None) -> Part:
        return Part(self.texts(field), input_type, self.place)


def read_records(path: Path) -> Records:
    """Blank lines are skipped.

    Raises:
        EmptyInputError: no records.
        InputError: a line that is not UTF-8 or no JSON object; the message names it.
    """
    with path.open("rb") as stream:
        lines = Lines(stream, source_of(path))
        objects, numbers = [], []
        for line in lines:
            if content := line.strip():
                objects.append(json_object(content, lines))
                numbers.append(lines.number)
        if not objects:
            raise empty(lines)
    return Records(lines.source, numbers, objects)


def first_fields(path: Path) -> set[str]:
    """Names of the first record's fields. Raises as `read_records`."""
    with path.open("rb") as stream:
        lines = Lines(stream, source_of(path))
        for line in lines:
            if content := line.strip():
                return set(json_object(content, lines))
        raise empty(lines)


def source_of(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def json_lines_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.jsonl") if path.is_file())
