"""Finds out why no document meets a search's conditions: none has the field, or the field holds values of another kind.

In: a store, and conditions with which nothing was found. Out: nothing, or an error that names the field. The reason is
looked for only when nothing was found, since each field may take a look at all passages.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from farthing.core.errors import InputError
from farthing.toolkit.stores.comparable import comparisons
from farthing.toolkit.stores.store import Store
from farthing.toolkit.stores.where import SHOWN_CHARS, Condition, shown

# The most conditions of a search that are looked at, passages whose fields are named, and names in a message.
MAX_CHECKED, NUM_SAMPLED, MAX_NAMED = 8, 1_000, 20
KINDS = {"text": "texts", "number": "numbers", "bool": "true or false"}


def check_met(store: Store, where: Sequence[Condition]) -> None:
    """Raise `InputError` for the first condition that no document can meet, whatever its value is."""
    for condition in where[:MAX_CHECKED]:
        field = condition.field
        if store.has_any([comparison.key for those in comparisons(condition) for comparison in those]):
            continue
        held = [words for kind, words in KINDS.items() if store.has_any([f"{kind}:{field}", f"{kind}s:{field}"])]
        if held:
            raise InputError(
                f"No document meets a condition with the value {shown(str(condition.value))}: the field "
                f"{shown(field)} holds {' and '.join(held)}.",
                param="where",
            )
        names = store.sample_fields(NUM_SAMPLED)
        if names:
            raise unknown_field(field, names)


def unknown_field(field: str, names: set[str]) -> InputError:
    short = sorted(name for name in names if len(name) <= SHOWN_CHARS)
    near = difflib.get_close_matches(field[:SHOWN_CHARS].lower(), [name.lower() for name in short], n=1)
    hint = f" Did you mean {next(name for name in short if name.lower() == near[0])!r}?" if near else ""
    more = f" and {len(short) - MAX_NAMED:,} more" if len(short) > MAX_NAMED else ""
    return InputError(
        f"No document has the field {shown(field)}; there are: {', '.join(short[:MAX_NAMED])}{more}.{hint}",
        param="where",
    )
