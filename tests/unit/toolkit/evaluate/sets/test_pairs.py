from __future__ import annotations

from pathlib import Path

from farthing.toolkit.evaluate.sets.pairs import read
from farthing.toolkit.evaluate.sets.records import Wanted


def test_texts_and_scores_are_read_by_any_of_the_usual_names(pairs_dir: Path) -> None:
    (found,) = read(pairs_dir, Wanted())
    assert (found.first.texts[2], found.second.texts[2], found.scores) == ("a coin", "a penny", [4.5, 0.0, 3.0])
    (pairs_dir / "more.jsonl").write_text('{"sentence1": "a", "sentence2": "b", "score": 1}')
    (pairs_dir / "about.jsonl").write_text('{"note": "no pairs"}')
    assert [data.name for data in read(pairs_dir, Wanted())] == ["alike more", "alike test"]
