"""What Python's garbage collector looks through while the server answers.

A look through all objects holds up every request while it lasts: 30 to 100 ms with torch and LanceDB loaded.
Modules and the first models stay until the end, so they are put where the collector does not look ("frozen").
"""

from __future__ import annotations

import gc

# The number of new objects before the collector looks at them, once what stays is put aside.
SPARED_THRESHOLD = 50_000


def spare_the_collector() -> None:
    """Put aside what the server begins with, once all of it is there. From then on the process is the server's."""
    gc.collect()
    gc.freeze()
    # While a body of many small lists is parsed, the collector would otherwise look through them hundreds of times.
    gc.set_threshold(SPARED_THRESHOLD, 20, 100)


def looks_at_little() -> bool:
    """Whether a look takes a millisecond, since what stays is put aside. Counting what was put aside would take 30."""
    return gc.get_threshold()[0] >= SPARED_THRESHOLD


def spare_what_came() -> None:
    """Put aside modules that were loaded since and stay; in a process that is not the server's, do nothing.

    This is not for anything that may be unloaded: a cycle in it would never be found.
    """
    if looks_at_little():
        gc.freeze()
