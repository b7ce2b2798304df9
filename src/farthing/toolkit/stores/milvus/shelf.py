"""The indexes at one address of Milvus."""

from __future__ import annotations

from farthing.toolkit.stores.milvus.connection import MilvusConnection
from farthing.toolkit.stores.milvus.database import PREFIX, MilvusDatabase, index_names


class MilvusShelf:
    """
    Args:
        place: "milvus:URI", as for `MilvusDatabase` but without the name.

    Raises:
        SettingsError: `place` is not of this form.
        MissingExtraError: a package that it needs is not installed.
    """

    def __init__(self, place: str) -> None:
        self._uri = place.removeprefix(PREFIX)
        self._milvus = MilvusConnection(self._uri)
        self.place = f"{PREFIX}{self._milvus.address}"

    def names(self) -> list[str]:
        return index_names(self._milvus)

    def has(self, name: str) -> bool:
        return name in self.names()

    def database(self, name: str) -> MilvusDatabase:
        return MilvusDatabase(f"{PREFIX}{self._uri}/{name}")

    def settle(self) -> None:
        """Do nothing: a server computes, or Milvus Lite in threads of Python, and nothing was started here."""
