from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farthing.toolkit.cluster.clustering import Cluster, Clustering
from farthing.toolkit.cluster.page import MANY_TEXTS_CHARS, PAGE_CHARS, TEXT_CHARS, chars_shown, cut, render_page

EVIL = '</script><script>document.title = "run"</script><!-- <b>&amp;'
TEXTS = [EVIL, "refund\nplease", "a text in no cluster", "更换密码", "long " * 1000]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NODE = shutil.which("node")


@pytest.fixture
def clustering() -> Clustering:
    return Clustering(
        cluster=np.array([0, 0, -1, 1, 0], dtype=np.int32),
        probability=np.array([1, 0.5, 0, 1, 0.25], dtype=np.float32),
        places=np.array([[0, 0], [4, 0], [4, 2], [2, 2], [0, 2]], dtype=np.float32),
        layout="pca",
        clusters=[Cluster(0, f"{EVIL}, refund", 3, [EVIL, "refund"], [0, 1, 4]), Cluster(1, "密码", 1, ["密码"], [3])],
        variance_kept=0.9,
    )


def data_of(page: str) -> dict[str, object]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, object] = json.loads(found[1])
    return data


def test_texts_are_data_of_the_page_and_never_markup(clustering: Clustering) -> None:
    page = render_page(EVIL, TEXTS, clustering)
    assert len(re.findall(r"</script", page, re.IGNORECASE)) == 2  # the data's and the program's
    assert "<!--" not in page
    assert data_of(page)["texts"][0] == EVIL  # type: ignore[index]
    assert "<title>Clusters of &lt;/script&gt;" in page


def test_placeholders_in_texts_and_names_are_texts(clustering: Clustering) -> None:
    page = render_page("__DATA__", ["__TITLE__", *TEXTS[1:]], clustering)
    assert data_of(page)["texts"][0] == "__TITLE__"  # type: ignore[index]
    assert "<h1>Clusters of __DATA__</h1>" in page


def test_places_fill_a_square_and_grow_upwards(clustering: Clustering) -> None:
    data = data_of(render_page("a", TEXTS, clustering))
    places = np.frombuffer(base64.b64decode(str(data["places"])), dtype="<f4").reshape(-1, 2)
    np.testing.assert_allclose(places, [[0, 0.75], [1, 0.75], [1, 0.25], [0.5, 0.25], [0, 0.25]])
    assert np.frombuffer(base64.b64decode(str(data["clusters"])), dtype="<i4").tolist() == [0, 0, -1, 1, 0]
    assert np.frombuffer(base64.b64decode(str(data["probability"])), dtype="u1").tolist() == [100, 50, 0, 100, 25]


def test_a_text_is_cut_and_on_one_line() -> None:
    assert cut("refund\n\tplease ") == "refund please"
    assert len(cut("long " * 1000)) == TEXT_CHARS
    assert cut("long " * 1000).endswith("…")
    assert cut("x" * TEXT_CHARS) == "x" * TEXT_CHARS
    assert len(cut("long " * 1000, 30)) == 30


def test_texts_are_cut_where_all_together_would_be_too_much() -> None:
    room = PAGE_CHARS // TEXT_CHARS
    assert chars_shown(["long " * 1000] * room) == TEXT_CHARS
    assert chars_shown(["long " * 1000] * (room + 1)) == MANY_TEXTS_CHARS
    assert chars_shown(["short"] * (room + 1)) == TEXT_CHARS


def test_points_that_are_all_in_one_place_stay_numbers(clustering: Clustering) -> None:
    clustering.places[:] = 7
    places = np.frombuffer(base64.b64decode(str(data_of(render_page("a", TEXTS, clustering))["places"])), dtype="<f4")
    assert places.tolist() == [0.5] * 10


def test_nothing_is_loaded_from_anywhere(clustering: Clustering) -> None:
    page = render_page("a", ["a"] * 5, clustering)
    assert not re.search(r"https?://|src=|href=|@import|url\(|fetch\(|XMLHttp", page)
    assert "default-src 'none'" in page


def in_chromium(page: str, probe: str, folder: Path) -> str:
    (folder / "map.html").write_text(page.replace("</body>", f"<script>{probe}</script></body>"), encoding="utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
               "--virtual-time-budget=5000", "--dump-dom",
               f"--user-data-dir={folder / 'profile'}", (folder / "map.html").as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    found = re.search(r'data-report="([^"]*)"', done.stdout.decode())
    assert found is not None, done.stderr.decode()
    return html.unescape(found[1])


def in_node(page: str, probe: str, folder: Path) -> str:
    """The page's program with elements that have no layout, and letters of one width."""
    browser = Path(__file__).with_name("page_in_node.js").read_text(encoding="utf-8")
    program = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert program is not None
    given = f"byId.data = {{ textContent: {json.dumps(json.dumps(data_of(page)))} }};"
    (folder / "map.js").write_text("\n".join((browser, given, program[1], probe)), encoding="utf-8")
    done = subprocess.run([str(NODE), str(folder / "map.js")], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


BROWSERS = [
    pytest.param(in_chromium, marks=pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")),
    pytest.param(in_node, marks=pytest.mark.skipif(NODE is None, reason="no node here")),
]
Browser = Callable[[str, str, Path], str]


def seen(browser: Browser, page: str, steps: str, folder: Path) -> dict[str, Any]:
    """What `steps` put into `report`, with functions of their own to look at the page."""
    looks = """
      const report = {}, rows = () => [...element("rows").children];
      const find = text => element("search").oninput({ target: { value: text } });
      const texts = row => [...row.querySelectorAll("li")].filter(item => !item.hidden).map(item => item.textContent);
      const marks = row => [...row.querySelectorAll("mark")].map(mark => mark.textContent);
      const painted = () => {
        const pixels = pointCanvas.getContext("2d").getImageData(0, 0, pointCanvas.width, pointCanvas.height).data;
        const colours = new Set();
        for (let at = 0; at < pixels.length; at += 4)
          if (pixels[at + 3]) colours.add([...pixels.slice(at, at + 3)].join());
        return colours.size;
      };
      const names = () => {
        const context = nameCanvas.getContext("2d"), written = [];
        context.fillText = (text, x, y) => {
          const half = context.measureText(text).width / 2;
          written.push({ text, left: x - half, right: x + half, y, halo: context.lineWidth });
        };
        drawNames();
        return written;
      };
      fit();
    """
    probe = (
        f'addEventListener("load", () => {{ {looks} {steps} document.body.dataset.report = JSON.stringify(report); }});'
    )
    report: dict[str, Any] = json.loads(browser(page, probe, folder))
    return report


STEPS = """
  report.colours = painted(); // two clusters and noise
  showHover(toX(0), toY(0));
  report.hover = hover.textContent;
  zoom(2, 0, 0);
  report.scale = view.scale;
  element("whole").click();
  rows()[0].click(); paint();
  report.selected = rows()[0].getAttribute("aria-selected");
  report.coloursSelected = painted(); // the selected cluster, and all others faint
  find("密码");
  report.rows = rows().map(each => [each.hidden, each.querySelector(".size").textContent]);
  report.title = document.title;
"""


@pytest.mark.parametrize("browser", BROWSERS)
def test_a_browser_draws_hovers_selects_and_searches(clustering: Clustering, browser: Browser, tmp_path: Path) -> None:
    report = seen(browser, render_page("a & b", TEXTS, clustering), STEPS, tmp_path)
    assert report["hover"] == f"{EVIL}, refund{EVIL}probability 1.00"
    assert report["title"] == "Clusters of a & b"
    assert (report["colours"], report["coloursSelected"], report["scale"]) == (3, 2, 2)
    assert report["selected"] == "true"
    assert report["rows"] == [[True, "3"], [False, "1"], [True, "1"]]


@pytest.fixture
def page() -> str:
    """130 texts about one thing along the map's left edge, ten at one place on the right, and 20 in no cluster."""
    texts = [f"refund {number}" for number in range(130)] + [f"हिन्दी भाषा {number}" for number in range(10)]
    texts += [f"stray {number}" for number in range(20)]
    texts[70] = "word " * 40 + "then a GIRAFFE (tall) comes"
    places = np.concatenate([
        np.column_stack((np.zeros(130), np.linspace(0, 1, 130))), np.tile([1, 0.3], (10, 1)), np.full((20, 2), 0.5)
    ])  # fmt: skip
    number = np.repeat([0, 1, -1], (130, 10, 20))
    found = Clustering(
        cluster=number.astype(np.int32),
        probability=np.linspace(1, 0, 160, dtype=np.float32),
        places=places.astype(np.float32),
        layout="pca",
        clusters=[
            Cluster(0, "refund, money back, lost", 130, ["refund", "money back", "lost"], [65, 2]),
            Cluster(1, "हिन्दी, भाषा", 10, ["हिन्दी" * 30, "भाषा"], [130]),
        ],
        variance_kept=1,
    )
    return render_page("a", texts, found)


@pytest.mark.parametrize("browser", BROWSERS)
def test_names_stay_whole_at_the_edge_and_hide_the_points_behind_them(
    page: str, browser: Browser, tmp_path: Path
) -> None:
    report = seen(browser, page, "report.names = names(); report.size = [width, height];", tmp_path)
    width, height = report["size"]
    refund, hindi = report["names"]
    assert refund["text"] == "refund, money back, lost"
    assert hindi["text"][-1] == "…"  # too long for any map
    kept, whole = hindi["text"][:-1], "हिन्दी" * 30
    assert whole.startswith(kept)
    assert unicodedata.category(whole[len(kept)])[0] != "M"  # letters keep their marks
    for name in (refund, hindi):
        assert name["left"] >= 0
        assert name["right"] <= width
        assert 12 <= name["y"] <= height - 4
        assert name["halo"] >= 5


@pytest.mark.parametrize("browser", BROWSERS)
def test_choosing_a_cluster_moves_the_map_to_it(page: str, browser: Browser, tmp_path: Path) -> None:
    steps = """
      rows()[1].click();
      report.place = [toX(135) - width / 2, toY(135) - height / 2];
      report.scale = view.scale;
      rows()[1].click();
      report.scaleAfter = view.scale;
      report.selected = selected;
    """
    report = seen(browser, page, steps, tmp_path)
    assert report["place"] == pytest.approx([0, 0], abs=0.01)
    assert 2 < report["scale"] < 100
    assert report["scaleAfter"] == report["scale"]  # a second click shows the other points again, and moves nothing
    assert report["selected"] is None


@pytest.mark.parametrize("browser", BROWSERS)
def test_every_text_can_be_read(page: str, browser: Browser, tmp_path: Path) -> None:
    steps = """
      const row = rows()[0], noise = rows()[2];
      report.closed = texts(row);
      row.click();
      report.first = texts(row);
      for (let more = 0; more < 2; more++) row.querySelector("button").click();
      report.all = texts(row);
      report.selected = selected; // a click on what is open closes nothing
      noise.click();
      report.noise = texts(noise);
      report.closedAgain = texts(row);
      show(0, 77);
      report.clicked = texts(row)[0];
    """
    report = seen(browser, page, steps, tmp_path)
    assert report["closed"] == report["closedAgain"] == ["refund 65"]
    assert report["first"][:3] == ["refund 65", "refund 2", "refund 0"]
    assert len(report["first"]) == 51
    assert report["first"][-1] == "Show more (50 of 130)"
    assert len(report["all"]) == len(set(report["all"])) == 130
    assert report["selected"] == 0
    assert report["noise"] == [f"stray {number}" for number in range(20)]
    assert report["clicked"] == "refund 77"


@pytest.mark.parametrize("browser", BROWSERS)
def test_what_is_looked_for_is_found_in_all_texts_and_is_seen(page: str, browser: Browser, tmp_path: Path) -> None:
    steps = """
      find("giraffe (TALL)"); paint();
      report.hidden = rows().map(row => row.hidden);
      report.texts = texts(rows()[0]);
      report.marks = marks(rows()[0]);
      report.shown = [...clusterOf.keys()].filter(isShown);
      report.colours = painted(); // the found one, and all others faint
      find("refund 1");
      report.several = texts(rows()[0]);
      find("money back");
      report.label = marks(rows()[0]);
      report.ofLabel = [...clusterOf.keys()].filter(isShown).length;
      find("nowhere");
      report.nothing = element("nothing").hidden;
      find(" ");
      report.back = [element("nothing").hidden, ...rows().map(row => row.hidden), ...marks(rows()[0])];
      report.backTexts = texts(rows()[0]);
    """
    report = seen(browser, page, steps, tmp_path)
    assert report["hidden"] == [False, True, True]
    assert report["marks"] == ["GIRAFFE (tall)"]
    assert len(report["texts"]) == 1
    assert report["texts"][0].startswith("…word word")
    assert report["texts"][0].index("GIRAFFE") < 70
    assert report["shown"] == [70]
    assert report["colours"] == 2
    assert report["several"] == ["refund 1", "refund 10", "refund 11", "and 38 more with this"]
    assert report["label"] == ["money back"]
    assert report["ofLabel"] == 130
    assert report["nothing"] is False
    assert report["back"] == [True, False, False, False]
    assert report["backTexts"] == ["refund 65"]
