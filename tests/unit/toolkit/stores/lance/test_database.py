"""An index in a folder: what of the folder is its own, what is not touched, and what it says when it cannot be used."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from few_passages import DIMENSIONS, held, passages_of, put, unit

from farthing.core.errors import (
    DiskFullError,
    FarthingError,
    IndexAccessError,
    IndexBusyError,
    IndexNotFoundError,
    IndexPlaceError,
    UnreadableIndexError,
    VectorIndexError,
)
from farthing.toolkit.stores.failures import error_of, lance_errors
from farthing.toolkit.stores.lance.database import LanceDatabase
from farthing.toolkit.stores.lance.folder import MARK, is_ours
from farthing.toolkit.stores.lance.notes import MAX_NOTE_BYTES
from farthing.toolkit.stores.lance.store import LanceStore

NOTE = "farthing-index"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def database(folder: Path) -> LanceDatabase:
    """With a note and a store of two documents."""
    made = LanceDatabase(str(folder))
    with made.making():
        store = made.open("data-1", DIMENSIONS)
        made.write(NOTE, "{}")
    put(store, [*passages_of("a", 2), *passages_of("b", 1)])
    store.build()
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- making -----------------------------------------------------------------------------------------------------------


def test_an_index_is_made_in_a_new_or_an_empty_folder_alone(folder: Path) -> None:
    LanceDatabase(str(folder)).check_free()
    folder.mkdir()
    LanceDatabase(str(folder)).check_free()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(IndexPlaceError, match=r"not empty \(it holds thesis\.txt\)"):
        LanceDatabase(str(folder)).check_free()
    assert names(folder) == ["thesis.txt"]


@pytest.mark.parametrize(
    "make",
    [
        lambda path: (path / "lock").write_text("mine"),
        lambda path: (path / "lock").mkdir(),
        lambda path: (path / "data-1").mkdir(),
        lambda path: (path / "data-1").symlink_to(path.parent),
        lambda path: (path / "data-1").write_text("mine"),
        lambda path: (path / ".hidden").touch(),
    ],
)
def test_what_only_looks_like_an_index_counts_as_somebody_elses(folder: Path, make: Callable[[Path], object]) -> None:
    folder.mkdir()
    make(folder)
    with pytest.raises(IndexPlaceError):
        LanceDatabase(str(folder)).check_free()


def test_what_a_killed_process_left_is_no_obstacle(folder: Path, database: LanceDatabase) -> None:
    (folder / f"{NOTE}.json").unlink()
    (folder / f".{NOTE}.json.0123456789abcdef.tmp").touch()
    (folder / "data-2").mkdir()
    (folder / "data-2" / MARK).touch()
    database.check_free()
    database.drop("data-1")
    assert held(database.open("data-1", DIMENSIONS)) == {}


def test_links_files_and_folders_below_a_file_are_no_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for name in ("link", "dangling"):
        with pytest.raises(IndexPlaceError, match="symbolic link"):
            LanceDatabase(str(tmp_path / name)).check_free()
    with pytest.raises(IndexPlaceError, match="is a file"):
        LanceDatabase(str(tmp_path / "file"))
    with pytest.raises(IndexPlaceError), LanceDatabase(str(tmp_path / "file" / "deep")).making():
        pass
    assert names(tmp_path) == ["dangling", "elsewhere", "file", "link"]


def test_a_path_that_is_not_utf8_is_no_place(tmp_path: Path) -> None:
    for name in ("x\udce9", "x\udce9/index"):
        with pytest.raises(IndexPlaceError, match="the path of its folder is not UTF-8"):
            LanceDatabase(str(tmp_path / name))
    assert names(tmp_path) == []


@pytest.mark.parametrize("parents", [[], ["deep", "deeper"]])
def test_a_failure_while_it_is_made_leaves_nothing(tmp_path: Path, parents: list[str]) -> None:
    database = LanceDatabase(str(tmp_path.joinpath(*parents, "index")))
    with pytest.raises(ValueError, match="stop"), database.making():
        raise ValueError("stop")
    assert names(tmp_path) == []


def test_two_cannot_make_it_at_once_and_the_second_leaves_the_first_alone(folder: Path) -> None:
    with LanceDatabase(str(folder)).making():
        with pytest.raises(IndexBusyError), LanceDatabase(str(folder)).making():
            pass
        assert names(folder) == ["lock"]


def test_its_files_are_for_their_owner_alone(tmp_path: Path, folder: Path) -> None:
    before = os.umask(0o022)
    try:
        database = LanceDatabase(str(folder))
        with database.making():
            database.open("data-1", DIMENSIONS)
            database.write(NOTE, "{}")
    finally:
        os.umask(before)
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in (folder, *folder.iterdir())}
    assert modes == {"index": "0o700", "data-1": "0o700", "lock": "0o600", f"{NOTE}.json": "0o600"}


# --- data -------------------------------------------------------------------------------------------------------------


def test_only_data_that_was_made_here_is_dropped(folder: Path, database: LanceDatabase) -> None:
    (folder / "data-2").mkdir()
    (folder / "data-2" / "survey.csv").write_text("mine")
    (folder / "data-3").symlink_to(folder / "data-1")
    shutil.copytree(folder / "data-1", folder / "data-4")  # a copy that somebody keeps
    for name in ("data-2", "data-3", "data-4", "data-9", "../index", f"{NOTE}.json", "."):
        database.drop(name)
    assert names(folder) == ["data-1", "data-2", "data-3", "data-4", f"{NOTE}.json", "lock"]
    database.drop("data-1")
    assert "data-1" not in names(folder)


def test_a_store_is_not_put_into_a_folder_of_somebody_else(folder: Path, database: LanceDatabase) -> None:
    (folder / "data-2").mkdir()
    (folder / "data-2" / "survey.csv").write_text("mine")
    with pytest.raises(IndexPlaceError, match="data-2 of the index"):
        database.open("data-2", DIMENSIONS)
    assert names(folder / "data-2") == ["survey.csv"]


def test_data_of_the_first_versions_is_told_by_what_it_holds(folder: Path, database: LanceDatabase) -> None:
    (folder / "data-1" / MARK).unlink()
    assert is_ours(folder / "data-1", "x")
    (folder / "data-1" / "notes.txt").touch()
    assert not is_ours(folder / "data-1", "x")


@pytest.mark.parametrize("part", ["data-1", "data-1/passages.lance", "data-1/passages.lance/data"])
def test_links_within_the_data_are_not_followed(
    tmp_path: Path, folder: Path, database: LanceDatabase, part: str
) -> None:
    (folder / part).rename(tmp_path / "elsewhere")
    (folder / part).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnreadableIndexError, match="symbolic link"):
        database.has("data-1")
    database.remove()
    assert list((tmp_path / "elsewhere").rglob("*.lance"))


# --- removing ---------------------------------------------------------------------------------------------------------


def test_removing_leaves_nothing_of_it(tmp_path: Path, database: LanceDatabase) -> None:
    (tmp_path / "index" / f".{NOTE}.json.0123456789abcdef.tmp").touch()
    with database.writing():
        assert database.remove() == []
    assert names(tmp_path) == []


def test_what_somebody_else_put_there_stays_and_is_named(folder: Path, database: LanceDatabase) -> None:
    (folder / "thesis.txt").write_text("mine")
    (folder / "src").mkdir()
    (folder / "farthing-notes.json").write_text("mine")
    (folder / "data-1" / "notes.txt").write_text("mine")
    (folder / "data-1" / "passages.lance" / "more.txt").write_text("mine")
    shutil.copytree(folder / "data-1", folder / "data-7")
    with database.writing():
        assert database.remove() == ["data-1", "data-7", "farthing-notes.json", "src", "thesis.txt"]
    left = sorted(str(path.relative_to(folder / "data-1")) for path in (folder / "data-1").rglob("*"))
    assert left == [MARK, "notes.txt", "passages.lance", "passages.lance/more.txt"]
    assert (folder / "data-7" / "passages.lance" / "data").is_dir()


def test_the_working_folder_is_emptied_and_stays(
    folder: Path, database: LanceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    here = LanceDatabase(".")
    with here.writing():
        assert here.remove() == []
    assert names(folder) == []


def test_through_a_link_nothing_is_removed(tmp_path: Path, folder: Path, database: LanceDatabase) -> None:
    (tmp_path / "link").symlink_to(folder)
    linked = LanceDatabase(str(tmp_path / "link"))
    assert linked.read(NOTE) == "{}"
    with pytest.raises(IndexPlaceError, match="nothing was removed"), linked.writing():
        linked.remove()
    assert linked.read(NOTE) == "{}"


def test_changing_what_is_gone_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError), LanceDatabase(str(tmp_path / "gone")).writing():
        pass
    assert names(tmp_path) == []


# --- notes ------------------------------------------------------------------------------------------------------------


def test_a_note_is_kept_replaced_and_removed(folder: Path, database: LanceDatabase) -> None:
    database.write("note", "'\"\n战国")
    assert database.read("note") == "'\"\n战国"
    database.write("note", None)
    assert database.read("note") is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b"\xff\xfe{}"), "not UTF-8"),
        (lambda path: path.write_bytes(b" " * (MAX_NOTE_BYTES + 1)), "65,536 bytes, and at most 65,535"),
        (lambda path: (path.touch(), os.truncate(path, 2**40)), "bytes, and at most"),
        (lambda path: path.symlink_to("/etc/hostname"), "symbolic link"),
        (lambda path: path.mkdir(), "no plain file"),
        (lambda path: os.mkfifo(path), "no plain file"),
    ],
)
def test_what_is_no_note_is_refused_at_once(
    folder: Path, database: LanceDatabase, make: Callable[[Path], object], words: str
) -> None:
    (folder / f"{NOTE}.json").unlink()
    make(folder / f"{NOTE}.json")
    with pytest.raises(UnreadableIndexError, match=words) as error:
        LanceDatabase(str(folder), "help").read(NOTE)
    assert str(folder) not in str(error.value)


def test_a_note_is_written_to_no_file_of_somebody_else(tmp_path: Path, folder: Path, database: LanceDatabase) -> None:
    (tmp_path / "victim").write_text("mine")
    (folder / f"{NOTE}.json.tmp").symlink_to(tmp_path / "victim")
    (folder / f"{NOTE}.json").unlink()
    (folder / f"{NOTE}.json").symlink_to(tmp_path / "victim")
    database.write(NOTE, "{}")
    assert (tmp_path / "victim").read_text() == "mine"
    assert database.read(NOTE) == "{}"


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path, folder: Path, database: LanceDatabase) -> None:
    (tmp_path / "victim").write_text("mine")
    (folder / "lock").unlink()
    (folder / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(FarthingError, match="symbolic links"), database.writing():
        pass


# --- what cannot be read or written -----------------------------------------------------------------------------------


def every_call(store: LanceStore) -> list[Callable[[], object]]:
    vector = unit(1)[0]

    def both() -> object:
        found = store.candidates(vector, "word", 3)
        return found.read(list(found.cosines))

    return [
        store.facts,
        store.documents,
        lambda: held(store),
        lambda: store.nearest(vector, 3),
        lambda: store.matching("word", 3),
        both,
        lambda: put(store, passages_of("c", 1)),
        lambda: store.delete(["a"]),
        store.build,
    ]


@pytest.mark.parametrize("pattern", ["data/*", "_versions/*.manifest", "_indices/*/*", "_transactions/*"])
@pytest.mark.parametrize("damage", ["cut", "zeros", "gone"])
def test_damaged_data_is_said_or_does_no_harm(folder: Path, database: LanceDatabase, pattern: str, damage: str) -> None:
    for file in (folder / "data-1" / "passages.lance").glob(pattern):
        content = file.read_bytes()
        file.unlink()
        if damage != "gone":
            file.write_bytes(content[: len(content) // 2] if damage == "cut" else bytes(len(content)))
    damaged = LanceDatabase(str(folder), "help")
    failures = []
    try:
        for call in every_call(damaged.open("data-1", DIMENSIONS)):
            try:
                call()
            except VectorIndexError as error:  # and nothing else
                failures.append(error)
    except VectorIndexError as error:
        failures.append(error)
    assert all("the index help" in str(error) and str(folder) not in str(error) for error in failures)
    assert failures or pattern != "data/*"


def test_an_index_that_was_removed_meanwhile_is_not_there(folder: Path, database: LanceDatabase) -> None:
    store = database.open("data-1", DIMENSIONS)
    shutil.rmtree(folder)
    with pytest.raises(IndexNotFoundError, match="removed"):
        store.nearest(unit(1)[0], 3)


@pytest.mark.parametrize(
    ("number", "kind"), [(28, DiskFullError), (122, DiskFullError), (13, IndexAccessError), (30, IndexAccessError)]
)
def test_what_the_system_refuses_is_told_in_words(number: int, kind: type[FarthingError]) -> None:
    assert isinstance(error_of(number, "help"), kind)
    with pytest.raises(kind, match="the index help") as error, lance_errors("help"):
        raise RuntimeError(f"lance error: LanceError(IO): words (os error {number}) at path /home/x, /rustc/y.rs:1:2")
    assert "/home" not in str(error.value)


ON_A_SMALL_DISK = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
from few_passages import DIMENSIONS, passages_of, put, unit
from farthing.core.errors import DiskFullError, IndexAccessError
from farthing.toolkit.stores.lance.database import LanceDatabase

def kind(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "done"

def made():
    database = LanceDatabase("/mnt/two")
    with database.making():
        try:
            database.open("data-1", DIMENSIONS)
            database.write("farthing-index", "x" * 60_000)
        except BaseException:
            database.drop("data-1")
            raise

database = LanceDatabase("/mnt/index")
with database.making():
    store = database.open("data-1", DIMENSIONS)
    database.write("farthing-index", "{}")
put(store, passages_of("a", 2))
with open("/mnt/fill", "wb") as file:
    kind(lambda: file.write(bytes(8_000_000)))
    kind(file.flush)
full = [kind(lambda: put(store, passages_of("b", 1000))), kind(made)]
found = len(store.nearest(unit(1)[0], 5)), os.listdir("/mnt")
os.remove("/mnt/fill")
assert os.system("mount -o remount,ro /mnt") == 0
read_only = [kind(lambda: put(store, passages_of("b", 1))), kind(database.writing().__enter__), kind(made)]
print([full, found[0], sorted(found[1]), read_only, len(store.nearest(unit(1)[0], 5))])
"""


def test_a_full_disk_and_one_that_is_read_only_are_said_and_reading_goes_on() -> None:
    """On a file system of its own, in a user namespace, where this system allows that."""
    mounted = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=4m none /mnt && exec "$@"', "sh"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*mounted, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no file system can be mounted here")
    command = [*mounted, sys.executable, "-c", ON_A_SMALL_DISK, str(Path(__file__).parents[1])]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    full, refused = "DiskFullError", "IndexAccessError"
    assert told.strip() == str([[full, full], 2, ["fill", "index"], [refused, refused, refused], 2])
