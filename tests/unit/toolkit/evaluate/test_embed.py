from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from farthing import Embedder
from farthing.core.errors import InputError
from farthing.toolkit.evaluate import embed
from farthing.toolkit.evaluate.embed import embed_sets
from farthing.toolkit.evaluate.sets.find import find_sets
from farthing.toolkit.evaluate.sets.records import Wanted


def test_vectors_are_those_of_the_texts_and_the_time_is_told(retrieval_dir: Path, starter: Embedder) -> None:
    (found,) = embed_sets(starter, find_sets(retrieval_dir))
    for name, part in found.data.parts.items():
        np.testing.assert_allclose(found.parts[name].rows, starter.encode(part.texts), atol=1e-5)
    assert (found.num_texts, found.num_kept) == (7, 0)
    assert found.one_text_ms > 0
    assert found.texts_per_s == pytest.approx(7 / sum(part.seconds for part in found.parts.values()))


def test_queries_get_the_instruction_and_documents_do_not(tiny_qwen3: Path, retrieval_dir: Path) -> None:
    with Embedder(str(tiny_qwen3)) as encoder:
        plain, instructed = embed_sets(encoder, find_sets(retrieval_dir), [None, "Find a bird"])
        queries, documents = plain.data.parts["queries"].texts, plain.data.parts["documents"].texts
        for found, given in ((plain, {"input_type": "query"}), (instructed, {"instruction": "Find a bird"})):
            np.testing.assert_allclose(found.parts["queries"].rows, encoder.encode(queries, **given), atol=1e-5)
        document_rows = encoder.encode(documents, input_type="document")
    np.testing.assert_allclose(instructed.parts["documents"].rows, document_rows, atol=1e-5)
    assert instructed.parts["documents"] is plain.parts["documents"]
    assert not np.allclose(instructed.parts["queries"].rows, plain.parts["queries"].rows, atol=1e-3)


def test_texts_of_pairs_all_get_the_instruction(tiny_qwen3: Path, pairs_dir: Path) -> None:
    with Embedder(str(tiny_qwen3)) as encoder:
        (found,) = embed_sets(encoder, find_sets(pairs_dir), ["Find what means the same"])
        expected = encoder.encode(found.data.parts["second"].texts, instruction="Find what means the same")
    np.testing.assert_allclose(found.parts["second"].rows, expected, atol=1e-5)


def test_a_corpus_that_sets_share_is_embedded_once(cross_dir: Path, starter: Embedder) -> None:
    crossed, own = embed_sets(starter, find_sets(cross_dir, wanted=Wanted([("en", "de"), ("de", "de")])))
    assert crossed.parts["documents"] is own.parts["documents"]


def test_kept_vectors_and_their_time_are_taken_and_what_is_missing_is_embedded(
    retrieval_dir: Path, tmp_path: Path, starter: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "PIECE_TEXTS", 2)
    sets, keep = find_sets(retrieval_dir), tmp_path / "keep"
    (first,) = embed_sets(starter, sets, keep=keep)
    (again,) = embed_sets(starter, sets, keep=keep)
    assert (first.num_kept, again.num_kept) == (0, 7)
    for name, part in first.parts.items():
        np.testing.assert_array_equal(again.parts[name].rows, part.rows)
        assert again.parts[name].seconds == pytest.approx(part.seconds)
    files = sorted(keep.iterdir())
    assert len(files) == 4
    np.savez(files[0], vectors=np.zeros((1, starter.dimensions)), seconds=0.0)
    files[1].unlink()
    (mended,) = embed_sets(starter, sets, keep=keep)
    assert mended.num_kept in (5, 6)
    rows = np.concatenate([part.rows for part in mended.parts.values()])
    assert 1 <= (~rows.any(axis=1)).sum() <= 2


def test_kept_vectors_of_another_space_context_or_instruction_are_not_taken(
    retrieval_dir: Path, tmp_path: Path, tiny_qwen3: Path
) -> None:
    sets = find_sets(retrieval_dir)
    with Embedder(str(tiny_qwen3)) as encoder:
        embed_sets(encoder, sets, keep=tmp_path)
        assert embed_sets(encoder, sets, ["Find a bird"], keep=tmp_path)[0].num_kept == 4
    for settings in ({"context_length": 128}, {"format": "fp32"}):
        with Embedder(str(tiny_qwen3), **settings) as encoder:
            assert embed_sets(encoder, sets, keep=tmp_path)[0].num_kept == 0


def test_a_kept_file_that_is_broken_is_named(retrieval_dir: Path, tmp_path: Path, starter: Embedder) -> None:
    sets = find_sets(retrieval_dir)
    embed_sets(starter, sets, keep=tmp_path / "keep")
    file = next((tmp_path / "keep").iterdir())
    file.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match=f"{file.name} does not hold kept vectors"):
        embed_sets(starter, sets, keep=tmp_path / "keep")


def test_a_text_that_cannot_be_embedded_is_named_by_its_line(pairs_dir: Path, starter: Embedder) -> None:
    lines = (pairs_dir / "test.jsonl").read_text().replace("a penny", "")
    (pairs_dir / "test.jsonl").write_text(lines)
    with pytest.raises(InputError, match=r"^Line 3 of alike/test\.jsonl"):
        embed_sets(starter, find_sets(pairs_dir))
    (pairs_dir / "test.jsonl").write_text(lines.replace("a bird", "", 1))
    with pytest.raises(InputError, match=r"^Line 1 of alike/test\.jsonl"):
        embed_sets(starter, find_sets(pairs_dir))
