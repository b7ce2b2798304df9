from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from farthing.core.errors import SettingsError
from farthing.toolkit.evaluate.grid import Memory, Row
from farthing.toolkit.evaluate.plot import draw, memory_mib, plot, series_of

ROW = Row(
    set="birds",
    kind="retrieval",
    format="int8",
    instruction=None,
    dimensions=384,
    search="vectors",
    figures={"nDCG@10": 0.6},
    num_texts=2**20,
    num_kept=0,
    texts_per_s=100.0,
    one_text_ms=2.0,
    search_ms=0.5,
    query_ms=2.5,
    vector_bytes=1024,
    memory=Memory(planned_bytes=300 * 2**20, measured_bytes=None),
)
PAIRS = replace(
    ROW, set="alike", kind="similarity", figures={"Spearman": 0.8}, search=None, search_ms=None, query_ms=None
)


@pytest.mark.parametrize(("suffix", "first_bytes"), [(".svg", b"<?xml"), (".PNG", b"\x89PNG")])
def test_a_picture_is_written_in_the_format_of_its_name(suffix: str, first_bytes: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"picture{suffix}"
    plot([ROW, replace(ROW, format="fp32"), PAIRS, replace(PAIRS, memory=None)], path, "a title")
    assert path.read_bytes().startswith(first_bytes)


def test_a_picture_has_panels_series_and_dimensions(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, dimensions=96), replace(ROW, format="fp32", texts_per_s=20.0, dimensions=33)]
    plot(rows, tmp_path / "a.svg", "MiniLM on birds")
    # Matplotlib draws letters as shapes and leaves the text beside them in comments.
    drawn = (tmp_path / "a.svg").read_text()
    for text in (
        "MiniLM on birds",
        "nDCG@10 (retrieval)",
        "texts/s embedded, many at once",
        "birds, int8",
        "birds, fp32",
        "384",
        "96",
    ):
        assert f"<!-- {text} -->" in drawn
    assert "<!-- 33 -->" not in drawn


def test_a_drawing_has_its_page_s_width_and_its_reader_s_colours(tmp_path: Path) -> None:
    plot([ROW, replace(ROW, dimensions=96), replace(ROW, format="fp32")], tmp_path / "a.svg", "MiniLM")
    drawn = (tmp_path / "a.svg").read_text()
    root = ElementTree.fromstring(drawn)
    assert "width" not in root.attrib
    assert "height" not in root.attrib
    assert root.attrib["viewBox"].split()[2] == "1080"
    style = next(
        each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}style") if "prefers" in str(each.text)
    )
    assert style.startswith("@media (prefers-color-scheme: dark) {")
    # Whatever has a colour has one for the dark too, and nothing of matplotlib's black is left.
    styles = [each.attrib["style"] for each in root.iter() if "style" in each.attrib]
    written = {found for each in styles for found in re.findall(r"(?:fill|stroke): #[0-9a-f]{6}", each)}
    assert {"fill: #ffffff", "fill: #1b1f24", "stroke: #1b1f24", "stroke: #1f77b4", "stroke: #ff7f0e"} <= written
    assert all(f'[style*="{each}"] {{' in style for each in written)


def test_numbers_of_several_series_stand_on_other_sides_of_their_markers(tmp_path: Path) -> None:
    rows = [replace(ROW, format=name, dimensions=size) for name in ("fp32", "int8") for size in (384, 96)]
    figure = Figure()
    draw(figure.subplots(), series_of(rows), memory_mib, "MiB", ["#1f77b4", "#ff7f0e"])
    numbers = [text for text in figure.axes[0].texts if text.get_text() == "384"]
    assert len({text.xyann for text in numbers}) == 2
    assert [text.get_color() for text in numbers] == ["#1f77b4", "#ff7f0e"]


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\.svg or \.png, not .*a\.pdf"):
        plot([ROW], tmp_path / "a.pdf", "")


def test_rows_that_differ_only_in_dimensions_are_a_series_named_by_what_differs() -> None:
    cut, exact = replace(ROW, dimensions=96), replace(ROW, format="fp32")
    assert series_of([ROW, cut, exact]) == {"birds, int8": [ROW, cut], "birds, fp32": [exact]}
    searched = replace(ROW, search="words")
    assert list(series_of([ROW, searched, replace(ROW, set="coins")])) == [
        "birds, vectors",
        "birds, words",
        "coins, vectors",
    ]
    assert list(series_of([PAIRS])) == ["alike"]


def test_memory_is_that_of_the_model_and_of_the_vectors() -> None:
    assert memory_mib(ROW) == 300 + 1024
    assert memory_mib(replace(ROW, memory=None)) == 1024
