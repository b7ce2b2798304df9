from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from farthing.serving.cache.memory import OVERHEAD_BYTES, MemoryLevel

ENTRY = b"x" * 100
SIZE = len(ENTRY) + OVERHEAD_BYTES

# Grows a process by entries of a size, and says by how much, and what the level says that it holds.
GROW = """
import gc, os
from farthing.serving.cache.memory import MemoryLevel
num_bytes, num_entries = int(sys.argv[1]), int(sys.argv[2])
level = MemoryLevel(2**40)
gc.collect()
before = resident_bytes()
for number in range(num_entries):
    level.put({number.to_bytes(16, "little"): os.urandom(num_bytes)})
print(json.dumps({"grown": resident_bytes() - before, "counted": level.stats().held_bytes}))
"""


def key(number: int) -> bytes:
    return number.to_bytes(16, "little")


def test_the_entry_used_least_recently_goes_first() -> None:
    level = MemoryLevel(3 * SIZE)
    for number in range(3):
        level.put({key(number): ENTRY})
    level.get([key(0)])
    level.put({key(3): ENTRY})
    assert set(level.get(key(number) for number in range(4))) == {key(0), key(2), key(3)}
    assert level.stats().evictions_total == 1


def test_it_never_holds_more_than_its_budget() -> None:
    level = MemoryLevel(10 * SIZE + 7)
    for number in range(50):
        level.put({key(number): ENTRY, key(number + 100): ENTRY * 2})
        stats = level.stats()
        assert stats.held_bytes <= 10 * SIZE + 7
    assert stats.entries > 5


def test_an_entry_that_comes_again_counts_once() -> None:
    level = MemoryLevel(10 * SIZE)
    level.put({key(1): ENTRY})
    level.put({key(1): ENTRY})
    assert (level.stats().entries, level.stats().held_bytes) == (1, SIZE)


def test_what_is_larger_than_the_budget_is_not_held() -> None:
    for budget in (0, SIZE - 1):
        level = MemoryLevel(budget)
        level.put({key(1): ENTRY})
        assert (level.stats().entries, level.stats().held_bytes) == (0, 0)


def test_trimming_gives_back_at_once_and_for_as_long_as_it_is_said() -> None:
    level = MemoryLevel(8 * SIZE)
    level.put({key(number): ENTRY for number in range(8)})
    level.trim(4)
    assert (level.stats().entries, level.stats().limit_bytes) == (2, 2 * SIZE)
    level.put({key(9): ENTRY})
    assert level.stats().entries == 2
    level.trim(1)
    level.put({key(number): ENTRY for number in range(8)})
    assert level.stats().entries == 8


def test_hits_and_misses_are_counted_by_text() -> None:
    level = MemoryLevel(8 * SIZE)
    level.put({key(1): ENTRY})
    level.get([key(1), key(2), key(3)])
    assert (level.stats().hits_total, level.stats().misses_total) == (1, 2)


def test_many_threads_leave_the_count_right() -> None:
    level = MemoryLevel(40 * SIZE)

    def work(first: int) -> None:
        for number in range(2000):
            level.put({key((first * 7 + number) % 97): ENTRY * (1 + number % 3)})
            level.get([key(number % 97)])
            if number % 500 == 0:
                level.trim(1 + number % 3)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = level.get(key(number) for number in range(97))
    assert level.stats().held_bytes == sum(len(entry) + OVERHEAD_BYTES for entry in held.values())


def test_it_counts_what_a_process_grows_by(measured: Callable[..., dict[str, Any]]) -> None:
    # The second number is one after which the dictionary has just grown.
    for num_bytes, num_entries in ((142, 60_000), (778, 44_000), (2058, 12_000)):
        found = measured(GROW, num_bytes, num_entries)
        assert 0.8 < found["grown"] / found["counted"] < 1.08, found
