from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from farthing import Reranker
from farthing.cli.rerank import rerank
from farthing.core.errors import EmptyInputError, InputError, WrongTaskError

TEXTS = ["a wren", "no, a crow", "a tower"]


def invoke(*args: object, input: str | None = None) -> Result:
    return CliRunner().invoke(rerank, list(map(str, args)), input=input)


@pytest.fixture
def ranking(tiny_reranker: Path) -> list[dict[str, object]]:
    with Reranker(str(tiny_reranker)) as reranker:
        found = reranker.rank("which bird?", TEXTS)
    return [
        {"index": entry.index, "score": entry.score, "logit": entry.logit, "text": TEXTS[entry.index]}
        for entry in found
    ]


def test_lines_come_out_best_first(tiny_reranker: Path, ranking: list[dict[str, object]], tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("\n".join(TEXTS))
    result = invoke(tiny_reranker, tmp_path / "in.txt", "--query", "which bird?", "--top-n", 2)
    assert result.exception is None
    assert result.stdout.splitlines() == [
        f"   {place}  {entry['score']:.4f}  {entry['text']}" for place, entry in enumerate(ranking[:2], start=1)
    ]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "-"])
def test_every_format_that_embed_reads_is_read(
    kind: str, tiny_reranker: Path, ranking: list[dict[str, object]], tmp_path: Path
) -> None:
    lines = {
        "jsonl": "\n".join(json.dumps({"id": 1, "body": text}) for text in TEXTS),
        "csv": "id,body\n" + "\n".join(f'1,"{text}"' for text in TEXTS),
        "-": "\n".join(TEXTS),
    }[kind]
    place = "-" if kind == "-" else tmp_path / f"in.{kind}"
    if isinstance(place, Path):
        place.write_text(lines)
    options = [] if kind == "-" else ["--field", "body"]
    result = invoke(tiny_reranker, place, "--query", "which bird?", "--json", *options, input=lines)
    assert result.exception is None
    for line, entry in zip(result.stdout.splitlines(), ranking, strict=True):
        assert json.loads(line) == pytest.approx(entry, abs=1e-6)


def test_what_cannot_be_ranked_is_left_out_and_the_others_keep_their_numbers(
    tiny_reranker: Path, ranking: list[dict[str, object]], tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_bytes(b"\xef\xbb\xbf\n\xe9\n" + "\n\n".join(TEXTS).encode())
    result = invoke(tiny_reranker, tmp_path / "in.txt", "--query", "which bird?", "--json")
    assert result.exception is None, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [entry["text"] for entry in found] == [entry["text"] for entry in ranking]
    assert [entry["index"] for entry in found] == [2 + 2 * int(str(entry["index"])) for entry in ranking]
    assert "Left out: Line 1 of in.txt has 0 visible characters" in result.stderr
    assert "Left out: Line 2 of in.txt is not UTF-8" in result.stderr
    strict = invoke(tiny_reranker, tmp_path / "in.txt", "--query", "which bird?", "--strict")
    assert isinstance(strict.exception, InputError)


def test_an_instruction_changes_the_order_s_scores(tiny_reranker: Path) -> None:
    asked = [tiny_reranker, "-", "--query", "which bird?"]
    plain, instructed = (invoke(*asked, *more, input="a wren\n") for more in ([], ["--instruction", "Find a bird"]))
    assert plain.stdout != instructed.stdout


def test_an_empty_file_and_a_model_for_vectors_are_refused(tiny_reranker: Path, tiny_qwen3: Path) -> None:
    assert isinstance(invoke(tiny_reranker, "-", "--query", "q", input="").exception, EmptyInputError)
    assert isinstance(invoke(tiny_qwen3, "-", "--query", "q", input="a\n").exception, WrongTaskError)
