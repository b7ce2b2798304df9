"""`farthing index` and `farthing search` as a user types them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from filelock import FileLock

from farthing import Index
from farthing.cli.main import cli
from farthing.core.errors import (
    EmptyInputError,
    FarthingError,
    IndexBusyError,
    IndexNotFoundError,
    IndexPlaceError,
    InputError,
    ModelNotFoundError,
    SettingsError,
    UnreadableIndexError,
    VectorIndexError,
    WrongSpaceError,
)

RECORDS = [
    {"id": "p1", "title": "Forgotten password", "text": "Open the settings and choose a new password.", "year": 2024},
    {"id": "p2", "title": "Delivery", "text": "Parcels arrive within three working days.", "year": 2025},
    {"id": "p3", "title": "退货", "text": "收到商品后七天内可以退货。", "year": 2026},
]


def farthing(*args: object, input: str | None = None) -> Result:
    return CliRunner().invoke(cli, list(map(str, args)), input=input)


def said(*args: object, input: str | None = None) -> str:
    result = farthing(*args, input=input)
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, starter_dir: Path) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "help.jsonl").write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS))
    (folder / "docs").mkdir()
    (folder / "docs" / "birds.md").write_text("# Birds\n\n## The wren\n\nA small bird with a loud song.\n")
    said("index", "create", folder / "store", "--model", starter_dir)
    said("index", "add", folder / "store", folder / "help.jsonl", folder / "docs")
    return folder / "store"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# --- an index ---------------------------------------------------------------------------------------------------------


def test_a_model_is_not_chosen_for_an_index_that_stays_with_it(tmp_path: Path) -> None:
    result = farthing("index", "create", "s")
    assert result.exit_code == 2
    assert "an index stays with its model" in result.stderr
    assert "farthing index create s --model starter" in result.stderr
    assert not (tmp_path / "s").exists()


def test_making_and_adding_say_what_was_done(tmp_path: Path, starter_dir: Path) -> None:
    made = said("index", "create", "s", "--model", starter_dir, "--max-tokens", 64)
    assert "384 dimensions; passages of at most 64 tokens, 8 of them shared" in made
    records = [{"id": 1, "text": "one", "size": {}, "sizes": [[1]], "many": [1] * 300}, {"id": 2, "text": "two"}]
    Path("a.jsonl").write_text("\n".join(map(json.dumps, records)))
    result = farthing("index", "add", "s", "a.jsonl")
    assert result.stdout.startswith("Added 2 documents: 2 passages embedded, ")
    why = "hold neither text, number, true or false, nor a list of these"
    assert f"Left out, since they {why}: size in 1, sizes in 1." in result.stderr
    assert "Left out, since they are lists of more than 256 values: many in 1." in result.stderr
    Path("a.jsonl").write_text('{"id": 1, "text": "one"}\n{"id": 2, "text": "zwei"}\n{"id": 3, "text": "three"}\n')
    assert said("index", "add", "s", "a.jsonl").startswith("Added 1 document, replaced 1, left 1 as they were: 2 pa")
    assert said("index", "add", "s", "a.jsonl").startswith("Added 0 documents, left 3 as they were: 0 passages")


def test_what_is_in_an_index_is_told(store: Path) -> None:
    told = said("index", "info", store)
    assert "documents        4" in told
    assert "384 dimensions, mean pooling" in told
    facts = json.loads(said("index", "info", store, "--json"))
    assert (facts["num_documents"], facts["num_unindexed"], facts["space"]["dimensions"]) == (4, 0, 384)


def test_documents_are_taken_out_pruned_and_compacted(starter_dir: Path) -> None:
    said("index", "create", "s", "--model", starter_dir)
    Path("docs").mkdir()
    for name in "abc":
        Path(f"docs/{name}.md").write_text(f"text {name}")
    said("index", "add", "s", "docs")
    result = farthing("index", "delete", "s", "docs/a.md", "docs/x.md")
    assert (result.stdout, result.stderr) == ("Took out 1 document.\n", "Not in the index: docs/x.md.\n")
    Path("docs/b.md").unlink()
    assert "took out 1: " in said("index", "add", "s", "docs", "--prune")
    assert " MiB; now: " in said("index", "compact", "s")
    assert json.loads(said("index", "info", "s", "--json"))["num_documents"] == 2
    Path("docs/c.md").write_text(" \n")  # nothing of what was in it is there any more
    assert "took out 1: " in said("index", "add", "s", "docs", "--prune")
    assert json.loads(said("index", "info", "s", "--json"))["num_documents"] == 1


def test_what_folders_hold_beside_text_is_said_with_what_to_do(starter_dir: Path) -> None:
    said("index", "create", "p", "--model", starter_dir)
    files = {
        "d.md": b"# d", "a.eml": b"Subject: a", "b.pdf": b"%PDF-1.4", "c.docx": b"PK", "d.odt": b"PK", "e.png": b"",
        "sub/s.md": b"s", "f.txt": b"%PDF-1.4\nraw",
    }  # fmt: skip
    for name, content in files.items():
        Path(f"p/{name}").parent.mkdir(exist_ok=True)
        Path(f"p/{name}").write_bytes(content)
    Path("p/sd").symlink_to("sub")
    Path("p/link.md").symlink_to("d.md")
    Path("p/e.csv").write_bytes("id;text\n1;Grüße\n".encode("cp1252"))
    result = farthing("index", "add", "p", "./p")
    assert result.stdout.startswith("Added 3 documents: 3 passages")
    assert result.stderr.splitlines() == [
        "Not read: p/f.txt is a PDF, which is not read as text. Make text of it first, for example: pdftotext OLD.pdf "
        "NEW.txt",
        "The columns of e.csv are separated by semicolons, not by commas.",
        "e.csv is not UTF-8, and is read by a guess, as cp1252. If that is wrong, convert it: iconv -f ENCODING -t "
        "UTF-8 OLD > NEW",
        "Left out as no text: 5 files (.docx 1, .eml 1, .odt 1, .pdf 1, .png 1).",
        "To add .docx, .odt: Make text of it first, for example: pandoc OLD -t gfm -o NEW.md",
        "To add .pdf: Make text of it first, for example: pdftotext OLD.pdf NEW.txt",
        "What is text under another suffix is added when the file itself is named.",
        "Left out, since they are the files of an index: those of p.",
        "Not added twice: 1 link to files that are added themselves.",
        "Links to folders are not followed: p/sd. Name a folder itself to add what is in it.",
    ]
    assert said("index", "add", "p", "./p").startswith("Added 0 documents, left 3 as they were")


def test_words_that_the_model_does_not_know_are_counted(starter_dir: Path) -> None:
    said("index", "create", "s", "--model", starter_dir)
    Path("x.txt").write_text("x" * 300)
    assert "Not in the model's vocabulary: 1 token (" in (told := farthing("index", "add", "s", "x.txt").stderr)
    assert "%); 1 passage of such words alone, of which vectors say nothing." in told
    Path("y.txt").write_text("a wren")
    assert "vocabulary" not in farthing("index", "add", "s", "y.txt").stderr


def test_records_without_a_text_are_told_before_a_model_is_looked_for(starter_dir: Path) -> None:
    said("index", "create", "s", "--model", starter_dir)
    Path("q.csv").write_text("sku,name,about\n1,a,b\n")
    with pytest.raises(InputError, match=r"Line 1 of q\.csv has no field 'text'"):
        said("index", "add", "s", "q.csv", "--model", "no such model")


def test_of_many_kinds_of_files_that_are_left_out_it_is_said_how_many_are_not_named(starter_dir: Path) -> None:
    said("index", "create", "s", "--model", starter_dir)
    Path("docs").mkdir()
    Path("docs/a.md").write_text("a wren")
    for number in range(14):
        Path(f"docs/b.kind{number:02}").write_bytes(b"\0\xff\0")
    told = farthing("index", "add", "s", "docs").stderr
    assert "Left out as no text: 14 files (.kind00 1, .kind01 1, " in told
    assert ".kind09 1, and 4 kinds more)." in told


def test_a_file_is_named_by_its_path_as_it_was_given(starter_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said("index", "create", "s", "--model", starter_dir)
    Path("docs").mkdir()
    Path("docs/a.md").write_text("a wren")
    said("index", "add", "s", "docs")
    monkeypatch.chdir("docs")
    said("index", "add", "../s", ".")
    found = said("search", "../s", "wren", "--mode", "keyword", "--json").splitlines()
    assert sorted(json.loads(line)["document"] for line in found) == ["a.md", "docs/a.md"]


def test_compacting_says_why_an_index_grew_and_when_its_room_comes_back(starter_dir: Path) -> None:
    said("index", "create", "s", "--model", starter_dir)
    for first in (100, 200, 300):
        rows = (json.dumps({"id": first + number, "text": f"wren {number}"}) for number in range(21))
        Path("q.jsonl").write_text("\n".join(rows))
        said("index", "add", "s", "q.jsonl")
    told = said("index", "compact", "s")
    assert "What was replaced in the last 10 minutes is still there" in told
    assert told.count("\n") == 2
    assert json.loads(said("index", "info", "s", "--json"))["num_documents"] == 63


def test_a_whole_index_is_removed_only_when_it_is_meant(starter_dir: Path) -> None:
    said("index", "create", "s", "--model", starter_dir)
    assert farthing("index", "delete", "s").exit_code == 2
    assert farthing("index", "delete", "s", "--all", input="n\n").exit_code == 1
    assert Path("s/farthing-index.json").exists()
    assert "Removed s." in said("index", "delete", "s", "--all", "--yes")
    assert not Path("s").exists()


@pytest.mark.parametrize("place", [".", "", "thesis.txt", "link", "x\udce9"])
def test_an_index_takes_over_nothing_that_is_there(place: str, tmp_path: Path) -> None:
    """It says so before it looks for a model."""
    Path("thesis.txt").write_text("mine")
    Path("link").symlink_to(tmp_path)
    with pytest.raises(IndexPlaceError):
        said("index", "create", place or tmp_path, "--model", "no such model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "thesis.txt"]


def test_removing_an_index_leaves_other_files_and_the_working_folder(
    tmp_path: Path, starter_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("p").mkdir()
    monkeypatch.chdir("p")
    said("index", "create", ".", "--model", starter_dir)
    assert said("index", "delete", ".", "--all", "--yes") == "Removed ..\n"
    assert list(Path().iterdir()) == []
    said("index", "create", ".", "--model", starter_dir)
    Path("thesis.txt").write_text("mine")
    Path("src").mkdir()
    told = said("index", "delete", ".", "--all", "--yes")
    assert told == "Removed the index in ., but not what else is there: src, thesis.txt.\n"
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["src", "thesis.txt"]


def test_an_index_that_cannot_be_read_says_why_and_can_be_removed(starter_dir: Path) -> None:
    said("index", "create", "s", "--model", starter_dir)
    said("index", "add", "s", "-", input='{"text": "a wren"}')
    shutil.move("s/data-1", "elsewhere")
    for command in (["search", "s", "wren", "--mode", "keyword"], ["index", "info", "s"], ["index", "compact", "s"]):
        with pytest.raises(UnreadableIndexError, match="The data of the index s cannot be read"):
            said(*command)
    Path("s/farthing-index.json").write_text("{")
    result = farthing("index", "delete", "s", "--all", input="y\n")
    assert "(farthing-index.json) cannot be read" in result.stderr
    assert "Remove the index s with all that is in it?" in result.output
    assert not Path("s").exists()


def test_data_that_is_cut_off_is_an_error_in_words(starter_dir: Path) -> None:
    said("index", "create", "s", "--model", starter_dir)
    said("index", "add", "s", "-", input='{"text": "a wren"}')
    for file in Path("s/data-1/passages.lance/data").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    done = subprocess.run(
        [sys.executable, "-m", "farthing", "search", "s", "wren", "--mode", "keyword"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "WARN" not in line]
    assert line.startswith(
        "Error: The data of the index s cannot be read: files of it are missing, cut off or garbled."
    )


@pytest.mark.parametrize(
    "where", [["a = 1"] * 65, ["a = " + "x" * 5000], ["a < 1e999"], ["year = " + "1" * 5000], ["price => 5"]]
)
def test_conditions_have_limits(where: list[str], store: Path) -> None:
    with pytest.raises(InputError):
        said("search", store, "x", "--mode", "keyword", *(part for text in where for part in ("--where", text)))


def test_moving_to_another_model_keeps_what_is_found(starter_dir: Path, tiny_qwen3: Path) -> None:
    said("index", "create", "s", "--model", tiny_qwen3)
    said("index", "add", "s", "-", input="\n".join(map(json.dumps, RECORDS)))
    with pytest.raises(WrongSpaceError, match="farthing index reindex"):
        said("search", "s", "password", "--model", starter_dir)
    assert "3 passages, 384 dimensions" in said("index", "reindex", "s", "--model", starter_dir)
    assert json.loads(said("search", "s", "I lost my login", "--json", "-k", 1))["document"] == "p1"


@pytest.mark.parametrize(
    ("content", "options", "error", "message"),
    [
        (b'{"text": "a"}\n{"text": \n', [], InputError, "Line 2 of in.jsonl is not valid JSON"),
        (b'{"text": "a"}\n{"body": "b"}\n', [], InputError, "Line 2 of in.jsonl has no field 'text'"),
        (b'{"text": "a"}\n', ["--field", "body"], InputError, "Line 1 of in.jsonl has no field 'body'"),
        (b'{"text": "a"}\n', ["--id-field", "sku"], InputError, "Line 1 of in.jsonl has no field 'sku'"),
        (b'{"text": "a"}\n{"text": "caf\xe9"}\n', [], InputError, "Line 2 of in.jsonl is not UTF-8"),
        (b"", [], EmptyInputError, "in.jsonl is empty"),
        (b'{"id": 1, "text": "a"}\n{"id": 1, "text": "b"}\n', [], InputError, "the id '1' was used"),
    ],
)
def test_broken_input_is_an_error_with_its_line(
    content: bytes, options: list[str], error: type[Exception], message: str, store: Path
) -> None:
    shutil.copytree(store, "copy")
    store = Path("copy")
    Path("in.jsonl").write_bytes(content)
    before = json.loads(said("index", "info", store, "--json"))["num_documents"]
    with pytest.raises(error, match=message):
        said("index", "add", store, "in.jsonl", "--strict", *options)
    said("index", "delete", store, *(["1"] if b"id" in content else []), "none")
    assert json.loads(said("index", "info", store, "--json"))["num_documents"] >= before


def test_records_that_cannot_be_read_are_left_out_and_listed(tiny_qwen3: Path) -> None:
    said("index", "create", "s", "--model", tiny_qwen3)
    bad = b"".join(b'{"id": %d}\n' % number for number in range(20))
    Path("in.jsonl").write_bytes(
        b'{"text": "one"}\n{"text": \n\n{"text": "caf\xe9"}\n' + bad + b'{"text": "two"}\n{"text": " "}\n'
    )
    result = farthing("index", "add", "s", "in.jsonl")
    assert result.exit_code == 0
    assert result.stdout.startswith("Added 2 documents: 2 passages")
    assert "Left out: Line 2 of in.jsonl is not valid JSON" in result.stderr
    assert "Left out: Line 4 of in.jsonl is not UTF-8" in result.stderr
    assert "Left out: 13 more, 23 in all." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["index", "add", "nowhere", "a.md"], IndexNotFoundError),
        (["index", "info", "nowhere"], IndexNotFoundError),
        (["search", "nowhere", "x"], IndexNotFoundError),
        (["index", "create", "s", "--model", "starter", "--max-tokens", "3"], InputError),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], error: type[FarthingError]) -> None:
    with pytest.raises(error):
        said(*arguments)
    assert not Path("nowhere").exists()
    assert not Path("s").exists()


# --- search -----------------------------------------------------------------------------------------------------------


def test_results_read_as_people_read_them(store: Path) -> None:
    lines = said("search", store, "a new password", "-k", 2).splitlines()
    assert lines[0].startswith("  1. Forgotten password  1.000 (cosine 0.")
    assert lines[1] == "     line 1 of help.jsonl"
    assert lines[2] == "     Open the settings and choose a *new* *password*."
    assert lines[4].startswith("  2. ")


def test_a_passage_of_a_file_says_its_heading_and_line(store: Path) -> None:
    found = said("search", store, "loud bird", "-k", 1)
    assert "1. Birds" in found
    assert "birds.md:1" in found


def test_json_lines_say_all_of_a_result(store: Path) -> None:
    (result,) = map(json.loads, said("search", store, "退货", "--mode", "keyword", "--json").splitlines())
    assert (result["document"], result["metadata"]) == ("p3", {"year": 2026})
    assert [result["excerpt"][first:last] for first, last in result["marks"]] == ["退货"]
    assert (result["cosine"], result["relevance"]) == (None, None)


def test_tags_of_records_come_back_and_can_be_asked_for(starter_dir: Path) -> None:
    said("index", "create", "s", "--model", starter_dir)
    records = [
        {"id": "a", "text": "a wren", "tags": ["bird", "small"], "years": [2001, 2026]},
        {"id": "b", "text": "a crow", "tags": ["bird"], "years": 2010},
        {"id": "c", "text": "a tower", "tags": []},
    ]
    Path("a.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert "Left out" not in farthing("index", "add", "s", "a.jsonl").stderr

    def found(*conditions: str) -> list[dict[str, object]]:
        wheres = [part for condition in conditions for part in ("--where", condition)]
        lines = said("search", "s", "wren crow tower", "--mode", "keyword", "--json", *wheres).splitlines()
        return sorted((result["document"], result["metadata"]) for result in map(json.loads, lines))

    wren = ("a", {"tags": ["bird", "small"], "years": [2001, 2026]})
    crow = ("b", {"tags": ["bird"], "years": 2010})
    assert found() == [wren, crow, ("c", {})]
    assert found("tags = bird") == [wren, crow]
    assert found("tags=small") == [wren]
    assert found("tags != small") == [crow]
    assert found("years < 2005") == [wren]
    assert found("tags = bird", "years >= 2026") == [wren]


def test_conditions_and_modes_are_taken(store: Path) -> None:
    for mode in ("hybrid", "vector"):
        found = said(
            "search", store, "password", "--where", "year >= 2025", "--where", "year < 2026", "--mode", mode, "--json"
        )
        assert [json.loads(line)["document"] for line in found.splitlines()] == ["p2"]


def test_a_reranker_is_taken(store: Path, tiny_reranker: Path) -> None:
    found = [json.loads(line) for line in said("search", store, "x", "--rerank", tiny_reranker, "--json").splitlines()]
    assert len(found) == 4
    assert all(result["score"] == result["relevance"] for result in found)


def test_nothing_found_is_said(store: Path) -> None:
    assert said("search", store, "zebra", "--mode", "keyword") == "Nothing found.\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--where", "year"], "FIELD OPERATOR VALUE"),
        (["--vector-weight", "2"], "must be from 0 to 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: list[str], message: str, store: Path) -> None:
    with pytest.raises(InputError, match=message):
        said("search", store, "x", *options)


def test_an_empty_query_is_refused(store: Path) -> None:
    with pytest.raises(EmptyInputError, match="query is empty"):
        said("search", store, " ")


# --- killed -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def big(tiny_qwen3: Path) -> Path:
    """An index, and more documents beside it than are added in a moment."""
    said("index", "create", "s", "--model", tiny_qwen3)
    records = ({"id": number, "text": f"text {number} about a wren " + "and more " * 15} for number in range(2000))
    Path("big.jsonl").write_text("\n".join(map(json.dumps, records)))
    return Path("s")


@pytest.mark.parametrize("num_documents", [pytest.param(1, marks=pytest.mark.slow), 1024])
def test_killed_while_adding_the_index_opens_and_adding_goes_on(num_documents: int, big: Path) -> None:
    command = [sys.executable, "-m", "farthing", "index", "add", "s", "big.jsonl"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while json.loads(said("index", "info", big, "--json"))["num_documents"] < num_documents:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL

    held = json.loads(said("index", "info", big, "--json"))["num_documents"]
    assert num_documents <= held < 2000
    assert said("search", big, "wren", "--mode", "keyword", "-k", 1) != "Nothing found.\n"
    assert len(said("search", big, "wren 3", "-k", 3, "--json").splitlines()) == 3
    assert f"left {held:,} as they were" in said("index", "add", big, "big.jsonl")
    facts = json.loads(said("index", "info", big, "--json"))
    assert (facts["num_documents"], facts["num_passages"], facts["num_unindexed"]) == (2000, 2000, 0)


# --- on Milvus --------------------------------------------------------------------------------------------------------


def test_an_index_on_milvus_is_used_as_one_in_a_folder(starter_dir: Path) -> None:
    place = "milvus:./vectors.db/help"
    assert "384 dimensions" in said("index", "create", place, "--model", starter_dir)
    lines = "\n".join(map(json.dumps, RECORDS))
    assert said("index", "add", place, "-", input=lines).startswith("Added 3 documents: 3 passages")
    assert json.loads(said("search", place, "I lost my login", "--json", "-k", 1))["document"] == "p1"
    assert json.loads(said("search", place, "退货", "--json", "--mode", "keyword"))["document"] == "p3"
    assert "documents        3" in said("index", "info", place)
    assert "MiB; now: " in said("index", "compact", place)
    assert "Took out 1 document." in said("index", "delete", place, "p1")
    assert f"Removed {place}." in said("index", "delete", place, "--all", "--yes")
    with pytest.raises(IndexNotFoundError, match="There is no index in"):
        said("search", place, "password")


def test_milvus_that_does_not_answer_is_said() -> None:
    result = farthing("index", "info", "milvus:http://me:secret@localhost:1/help")
    assert isinstance(result.exception, VectorIndexError)
    assert "Milvus at http://me:***@localhost:1" in str(result.exception)


# --- how its vectors are made -----------------------------------------------------------------------------------------


def test_an_index_remembers_the_format_of_its_vectors(tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.txt").write_text("one wren\n")
    monkeypatch.setenv("FARTHING_FORMAT", "fp32")  # for all commands; an index knows better
    for form in ("int8", "nf4", "none"):
        said("index", "create", form, "--model", tiny_qwen3, "--format", form)
        monkeypatch.setenv("FARTHING_FORMAT", "int8" if form == "none" else "fp32")
        assert said("index", "add", form, "a.txt").startswith("Added 1 document")
        assert "one" in said("search", form, "one wren")
        assert said("index", "reindex", form)
        assert "one" in said("search", form, "one wren")
    assert "format           int8" in said("index", "info", "int8")
    with Index("int8") as index:
        assert index.search("one wren")
        index.add(["two wrens"])


def test_another_format_that_is_asked_for_is_named(tiny_qwen3: Path) -> None:
    said("index", "create", "s", "--model", tiny_qwen3, "--format", "int8")
    result = farthing("search", "s", "a", "--format", "fp32")
    assert isinstance(result.exception, WrongSpaceError)
    assert ", int8, last pooling" in str(result.exception)


def test_a_model_in_a_folder_is_found_from_every_folder(tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_qwen3, "model")
    Path("a.txt").write_text("one wren\n")
    said("index", "create", "s", "--model", "./model")
    with Index.create("t", "model") as index:
        index.add(["one"])
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    said("index", "add", "../s", "../a.txt")
    assert "one" in said("search", "../t", "one")


def test_of_a_model_that_was_moved_it_is_said_that_the_index_was_made_with_it(tiny_qwen3: Path) -> None:
    shutil.copytree(tiny_qwen3, "model")
    Path("a.txt").write_text("one wren\n")
    said("index", "create", "s", "--model", "model")
    said("index", "add", "s", "a.txt")
    Path("model").rename("moved")
    for command in (("search", "s", "one"), ("index", "add", "s", "a.txt"), ("index", "reindex", "s")):
        with pytest.raises(ModelNotFoundError) as error:
            said(*command)
        assert f"The index was made with the model {Path('model').absolute()}. If it lies elsewhere" in str(error.value)
        assert "--model says where it is now" in str(error.value)
        assert said(*command, "--model", "moved")
    with pytest.raises(ModelNotFoundError) as error:
        said("search", "s", "one", "--model", "./nowhere")
    assert "The index was made with" not in str(error.value)


def test_an_index_of_another_server_says_that_it_has_to_be_named(tiny_qwen3: Path) -> None:
    said("index", "create", "s", "--model", tiny_qwen3)
    place = Path("s/farthing-index.json")
    manifest = json.loads(place.read_text())
    manifest["space"]["pooling"] = "upstream"
    place.write_text(json.dumps(manifest))
    result = farthing("search", "s", "a")
    assert isinstance(result.exception, SettingsError)
    assert "made by another server" in str(result.exception)
    assert "--upstream URL" in str(result.exception)


def test_indexes_of_a_folder_are_listed(store: Path) -> None:
    told = said("index", "list", store.parent)
    assert told.startswith(f"{store}: 4 documents, 4 passages, ")
    assert told.count("\n") == 1
    assert said("index", "list", store) == told
    assert said("index", "list").startswith("No index is in .. Make one: farthing index create")
    with pytest.raises(IndexNotFoundError):
        said("index", "list", "nowhere")


def test_an_index_that_cannot_be_read_does_not_hide_the_others(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "broken")
    shutil.copytree(store, tmp_path / "good")
    shutil.rmtree(tmp_path / "broken" / "data-1")
    result = farthing("index", "list", tmp_path)
    assert result.stdout.startswith(f"{tmp_path}/good: 4 documents")
    assert f"{tmp_path}/broken: The data of the index" in result.stderr


def test_a_query_may_be_several_words_without_quotes(store: Path) -> None:
    quoted = said("search", store, "parcels within working days", "--json")
    assert said("search", store, "parcels", "within", "working", "days", "--json") == quoted
    assert said("search", store, "--json", "parcels", "within", "-k", 10, "working", "days") == quoted


def test_a_search_of_an_empty_index_says_that_it_is(starter_dir: Path) -> None:
    said("index", "create", "s", "--model", starter_dir)
    assert said("search", "s", "anything") == (
        "Nothing is in the index yet. Add documents with: farthing index add s FILES\n"
    )


def test_a_field_that_no_document_has_is_named(store: Path) -> None:
    with pytest.raises(InputError, match=r"No document has the field 'yaer'; there are: year\. Did you mean 'year'\?"):
        said("search", store, "password", "--where", "yaer = 2024", "--model", "no such model")
    assert said("search", store, "password", "--where", "year = 1999") == "Nothing found.\n"


def test_code_is_shown_in_its_lines_and_what_has_no_name_by_its_place(starter_dir: Path) -> None:
    said("index", "create", "s", "--model", starter_dir)
    Path("birds.py").write_text("class Wren:\n    def sing(self):\n        return 'loud'\n")
    Path("notes.jsonl").write_text('{"text": "Crows  count\\nand sing."}\n')
    said("index", "add", "s", "birds.py", "notes.jsonl")
    shown = said("search", "s", "sing", "--mode", "keyword")
    assert "\n     class Wren:\n         def *sing*(self):\n             return 'loud'\n" in shown
    assert "1. line 1 of notes.jsonl  words " in shown
    assert "     Crows count and *sing*." in shown


def test_csv_on_standard_input_is_told_how_it_is_read(store: Path) -> None:
    with pytest.raises(InputError, match="Standard input is read as JSON Lines; --input-format csv reads CSV"):
        said("index", "add", store, "-", "--strict", input="id,text\n1,a\n")


def test_an_index_that_cannot_be_changed_is_told_before_a_model_is_looked_for(store: Path) -> None:
    Path("a.txt").write_text("a text")
    held = FileLock(store / "lock")
    with held, pytest.raises(IndexBusyError):
        said("index", "add", store, "a.txt", "--model", "no such model")
    with pytest.raises(ModelNotFoundError):
        said("index", "add", store, "a.txt", "--model", "no/such-model", "--offline")
