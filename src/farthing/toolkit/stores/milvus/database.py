"""An index on Milvus: a collection for each store, and rows in one collection of notes for what the index says of
itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from farthing.core.errors import IndexPlaceError, SettingsError
from farthing.toolkit.stores.database import MANIFEST, is_begun
from farthing.toolkit.stores.failures import file_errors
from farthing.toolkit.stores.lock import one_writer
from farthing.toolkit.stores.milvus.connection import MilvusConnection, without_password
from farthing.toolkit.stores.milvus.rows import MAX_FIELD_BYTES, literal, schema
from farthing.toolkit.stores.milvus.store import MilvusStore
from farthing.toolkit.stores.name import NAME_RULE, is_name

PREFIX = "milvus:"
NOTES = "farthing_notes"
# A collection must have vectors; notes have this one.
NO_VECTOR = [0.0, 1.0]


class MilvusDatabase:
    """
    Args:
        place: "milvus:URI/NAME": pymilvus's uri of a server, or a path of Milvus Lite that ends in .db, and the index's
            name. There may be several indexes at one uri.

    Raises:
        SettingsError: `place` is not of this form.
        MissingExtraError: a package that it needs is not installed.
    """

    def __init__(self, place: str) -> None:
        uri, slash, name = place.removeprefix(PREFIX).rpartition("/")
        if not slash or not is_name(name):
            raise SettingsError(
                f"{PREFIX}{without_password(place.removeprefix(PREFIX))} names no index. Give milvus:URI/NAME, such as "
                f"milvus:http://localhost:19530/help. {NAME_RULE}",
                param="store",
            )
        self._milvus = MilvusConnection(uri)
        self._name = name
        self.place = f"{PREFIX}{self._milvus.address}/{name}"

    def read(self, name: str) -> str | None:
        found = self._notes(f"id == {literal(self._note_id(name))}") if self._has_notes() else []
        return str(found[0]["note"]) if found else None

    def write(self, name: str, note: str | None) -> None:
        self._make_notes()
        if note is None:
            self._milvus.call("delete", NOTES, ids=[self._note_id(name)])
        else:
            row = {"id": self._note_id(name), "note": note, "vector": NO_VECTOR}
            self._milvus.call("upsert", NOTES, [row])

    def has(self, data: str) -> bool:
        return self._milvus.call("has_collection", self._collection(data)) is True

    def open(self, data: str, dimensions: int) -> MilvusStore:
        return MilvusStore(self._milvus, self._collection(data), dimensions)

    def drop(self, data: str) -> None:
        if self.has(data) and self._is_ours(self._collection(data)):
            self._milvus.call("drop_collection", self._collection(data))

    def begun_file(self) -> Path | None:
        lite = self._milvus.lite
        return None if lite is None else lite.with_name(f"{lite.name}.{self._name}.begun-vectors")

    def check_free(self) -> None:
        foreign = [name for name in self._collections() if not self._is_ours(name)]
        if foreign:
            raise IndexPlaceError(
                f"Milvus at {self._milvus.address} has a collection {foreign[0]}, which Farthing did not make. Choose "
                "another name.",
                param="store",
            )

    def making(self) -> AbstractContextManager[None]:
        return self.writing()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Like `Database.writing`. On a server writers are not kept apart, since Milvus has no locks: see to it that
        there is one at a time.

        Milvus Lite is open in one process only, where a lock beside its data keeps threads apart.
        """
        lite = self._milvus.lite
        if lite is None:
            yield
            return
        with file_errors(self.place):
            lite.parent.mkdir(parents=True, exist_ok=True)
        with one_writer(lite.with_name(f"{lite.name}.lock"), self.place):
            yield

    def remove(self) -> list[str]:
        first, end = self._note_id(""), f"{self._name}0"  # "0" follows "/"
        notes = self._notes(f"id >= {literal(first)} and id < {literal(end)}")
        if notes:
            self._milvus.call("delete", NOTES, ids=[row["id"] for row in notes])
        kept = []
        for collection in self._collections():
            if self._is_ours(collection):
                self._milvus.call("drop_collection", collection)
            else:
                kept.append(collection)
        begun = self.begun_file()
        with file_errors(self.place):
            if begun is not None and is_begun(begun):
                begun.unlink()
        return kept

    def _collections(self) -> list[str]:
        """The names of this index's collections, sorted."""
        if self._milvus.lite is not None and not self._milvus.lite.exists():
            return []  # asking would make it
        prefix = self._collection("data-")
        names = self._milvus.call("list_collections")
        return sorted(name for name in names if name.startswith(prefix) and name[len(prefix) :].isdecimal())

    def _is_ours(self, collection: str) -> bool:
        """Whether a collection has the fields of a store."""
        fields = {field["name"] for field in self._milvus.call("describe_collection", collection)["fields"]}
        return fields == {field.name for field in schema(len(NO_VECTOR)).fields}

    def _collection(self, data: str) -> str:
        return f"farthing_{identifier(self._name)}__{identifier(data)}"

    def _note_id(self, name: str) -> str:
        return f"{self._name}/{name}"

    def _notes(self, condition: str) -> Any:
        fields = ["id", "note"]
        return self._milvus.call("query", NOTES, filter=condition, output_fields=fields, consistency_level="Strong")

    def _has_notes(self) -> bool:
        if self._milvus.lite is not None and not self._milvus.lite.exists():
            return False  # asking would make it
        if not self._milvus.call("has_collection", NOTES):
            return False
        self._make_notes()  # whatever is missing of it: whoever made it may have been killed
        return True

    def _make_notes(self) -> None:
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=200)
        schema.add_field("note", DataType.VARCHAR, max_length=MAX_FIELD_BYTES)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=len(NO_VECTOR))
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index("vector", index_name="vector", index_type="FLAT", metric_type="COSINE")
        self._milvus.make(NOTES, schema, indexes)


def index_names(milvus: MilvusConnection) -> list[str]:
    """The names of the indexes whose manifests are among the notes, sorted."""
    if milvus.lite is not None and not milvus.lite.exists():
        return []  # asking would make it
    if not milvus.call("has_collection", NOTES):
        return []
    end = f"/{MANIFEST}"
    milvus.call("load_collection", NOTES)
    found = milvus.call(
        "query", NOTES, filter=f"id like {literal(f'%{end}')}", output_fields=["id"], consistency_level="Strong"
    )
    return sorted(name for row in found if is_name(name := row["id"].removesuffix(end)))


def identifier(name: str) -> str:
    """A name as letters, digits and single underscores, different for different names."""
    return re.sub(r"[^A-Za-z0-9]", lambda found: f"_{ord(found.group()):02x}", name)
