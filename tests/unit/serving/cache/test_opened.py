from __future__ import annotations

import socket
import time
from dataclasses import replace

import pytest

from farthing.core.errors import SettingsError
from farthing.core.resolve import resolve
from farthing.core.settings import CacheSettings, EngineSettings
from farthing.engine.plan.device import device_facts
from farthing.serving.cache.planned import memory_bytes, reserved_bytes
from farthing.serving.cache.remote import PENDING_BYTES
from farthing.serving.cache.vectors import LOOK_S, open_cache, why_absent

MIB, GIB = 2**20, 2**30
FACTS = replace(device_facts("cpu"), free_bytes=10 * GIB)
CARD = replace(FACTS, device="cuda:0", host_free_bytes=GIB)


@pytest.mark.parametrize(
    ("settings", "memory", "expected"),
    [
        (CacheSettings(), "auto", 32 * MIB),
        (CacheSettings(), "none", 32 * MIB),
        (CacheSettings(), "640MiB", 10 * MIB),
        (CacheSettings(cache_memory="1GiB"), "640MiB", GIB),
        (CacheSettings(cache_memory="0B"), "auto", 0),
        (CacheSettings(cache="off", cache_memory="1GiB"), "auto", 0),
    ],
)
def test_what_vectors_may_take(settings: CacheSettings, memory: str, expected: int) -> None:
    assert memory_bytes(settings, EngineSettings(memory=memory), FACTS) == expected


def test_what_a_models_plan_leaves_to_the_cache() -> None:
    engine = EngineSettings(memory="640MiB")
    assert reserved_bytes(CacheSettings(), engine, FACTS) == 10 * MIB
    shared = CacheSettings(cache="redis://localhost", cache_memory="5MiB")
    assert reserved_bytes(shared, engine, FACTS) == 5 * MIB + PENDING_BYTES
    assert reserved_bytes(CacheSettings(cache="off"), engine, FACTS) == 0


def test_a_cards_memory_is_not_the_caches() -> None:
    assert CARD.on_card
    assert reserved_bytes(CacheSettings(), EngineSettings(memory="4GB"), CARD) == 0
    assert memory_bytes(CacheSettings(), EngineSettings(memory="4GB"), CARD) == int(GIB * 0.9) // 64


def test_nothing_is_opened_where_nothing_is_kept() -> None:
    assert open_cache(CacheSettings(cache="off"), 0) is None
    memory = open_cache(CacheSettings(), MIB)
    assert memory is not None
    assert (memory.has_store, memory.in_words()) == (False, "up to 1 MiB in memory")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://localhost:1/0", "redis"),
        ("rediss://user:secret@localhost", "redis"),
        ("valkey://localhost:1/2", "redis"),
        ("valkeys://localhost", "redis"),
        ("memcached://localhost", "memcached"),
    ],
)
def test_every_kind_of_store_opens_without_connecting(url: str, words: str) -> None:
    cache = open_cache(CacheSettings(cache=url), MIB)
    assert cache is not None
    assert cache.in_words() == f"up to 1 MiB in memory, then {words}"


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "memcached://127.0.0.1:1"])
def test_a_store_that_is_not_there_is_told_with_the_reason(url: str) -> None:
    cache, settings = open_cache(CacheSettings(cache=url), MIB), CacheSettings(cache=url)
    assert cache is not None
    cache.absent = why_absent(settings)
    name, _, _ = url.partition(":")
    assert cache.absent
    assert cache.in_words() == (
        f"up to 1 MiB in memory; {name} does not answer now ({cache.absent}) and is tried again while the server runs"
    )


def test_a_store_that_hangs_is_waited_for_no_longer_than_a_start_can_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        assert why_absent(CacheSettings(cache=f"redis://127.0.0.1:{silent.getsockname()[1]}"))
        assert time.monotonic() - started < 10 * LOOK_S


def test_where_there_is_no_store_nobody_looks_for_one() -> None:
    assert [why_absent(CacheSettings(cache=cache)) for cache in ("memory", "off")] == ["", ""]


@pytest.mark.parametrize(
    "url",
    ["disk", "", "http://localhost", "redis://", "redis://:6379", "redis://h:port/0", "redis://h/zero", "redis:h"],
)
def test_what_names_no_store_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SettingsError, match="memory, off, or the URL") as caught:
        CacheSettings(cache=url)
    assert "port/0" not in str(caught.value)
    assert caught.value.param == "cache"


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="cache_memory is 'much'"):
        CacheSettings(cache_memory="much")


def test_a_password_is_not_in_the_settings_log() -> None:
    lines = resolve([CacheSettings], flags={"cache": "redis://user:secret@host:1/0"}).lines()
    assert lines[0] == "cache = redis://***@host:1/0 (flag)"


def test_steps_to_save_memory_trim_what_is_held() -> None:
    cache = open_cache(CacheSettings(), 4 * MIB)
    assert cache is not None
    cache.on_memory_step(1)
    assert cache.stats().memory.limit_bytes == MIB
    cache.on_memory_step(0)
    assert cache.stats().memory.limit_bytes == 4 * MIB
