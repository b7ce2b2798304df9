"""What Python's garbage collector looks through while the server answers.

A look through all objects holds up every request for as long as it takes: 30 to 100 ms with torch and LanceDB loaded.
Modules and the first models stay until the end, so they are put where the collector does not look ("frozen").
"""

from __future__ import annotations

import gc

# New objects before the collector looks at them, once what stays is put aside.
SPARED_THRESHOLD = 50_000


def spare_the_collector() -> None:
    """Once all that the server begins with is there. The process is the server's from now on."""
    gc.collect()
    gc.freeze()
    # A body of many small lists would have the collector look through them hundreds of times while it is parsed.
    gc.set_threshold(SPARED_THRESHOLD, 20, 100)


def looks_at_little() -> bool:
    """Whether a look takes a millisecond, since what stays is put aside. Counting what is put aside would take 30."""
    return gc.get_threshold()[0] >= SPARED_THRESHOLD


def spare_what_came() -> None:
    """After modules were loaded that stay. Not for what may be unloaded: a cycle in it would never be found. Changes
    nothing in a process that is not the server's."""
    if looks_at_little():
        gc.freeze()
