"""Tells which names in an index's folder are the index's own. All others are somebody else's, and stay theirs."""

from __future__ import annotations

import re
from collections.abc import Collection

from farthing.toolkit.stores.database import MANIFEST, NEXT_MANIFEST

LOCK, BEGUN = "lock", "begun-vectors"
# In the order in which they are removed: without the first there is no index any more.
NOTES = (f"{MANIFEST}.json", f"{NEXT_MANIFEST}.json")
DATA = re.compile(r"data-[0-9]{1,9}")


def index_names(names: Collection[str]) -> set[str]:
    """The names in a folder that an index put there; none where there is no index."""
    data = {name for name in names if DATA.fullmatch(name)}
    return {*NOTES, LOCK, BEGUN, *data} & set(names) if data and NOTES[0] in names else set()
