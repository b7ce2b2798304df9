from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from farthing.toolkit.cluster.clustering import Cluster, Clustering
from farthing.toolkit.cluster.page import TEXT_CHARS, cut, render_page

EVIL = '</script><script>document.title = "run"</script><!-- <b>&amp;'
TEXTS = [EVIL, "refund\nplease", "a text in no cluster", "更换密码", "long " * 1000]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


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


def test_points_that_are_all_in_one_place_stay_numbers(clustering: Clustering) -> None:
    clustering.places[:] = 7
    places = np.frombuffer(base64.b64decode(str(data_of(render_page("a", TEXTS, clustering))["places"])), dtype="<f4")
    assert places.tolist() == [0.5] * 10


def test_nothing_is_loaded_from_anywhere(clustering: Clustering) -> None:
    page = render_page("a", ["a"] * 5, clustering)
    assert not re.search(r"https?://|src=|href=|@import|url\(|fetch\(|XMLHttp", page)
    assert "default-src 'none'" in page


PROBE = """
addEventListener("load", () => {
  const report = {}, row = element("rows").children[0];
  const painted = () => {
    const pixels = pointCanvas.getContext("2d").getImageData(0, 0, pointCanvas.width, pointCanvas.height).data;
    const colours = new Set();
    for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3]) colours.add([...pixels.slice(at, at + 3)].join());
    return colours.size;
  };
  fit();
  report.colours = painted(); // two clusters and noise
  showHover(toX(0), toY(0));
  report.hover = hover.textContent;
  zoom(2, 0, 0);
  report.scale = view.scale;
  element("whole").click();
  row.click(); paint();
  report.selected = row.getAttribute("aria-selected");
  report.coloursSelected = painted(); // the selected cluster, and all others faint
  element("search").value = "密码"; element("search").oninput({ target: element("search") });
  report.rows = [...element("rows").children].map(each => [each.hidden, each.querySelector(".size").textContent]);
  report.title = document.title;
  document.body.dataset.report = JSON.stringify(report);
});
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_browser_draws_hovers_selects_and_searches(clustering: Clustering, tmp_path: Path) -> None:
    page = render_page("a & b", TEXTS, clustering).replace("</body>", f"<script>{PROBE}</script></body>")
    (tmp_path / "map.html").write_text(page, encoding="utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
               "--virtual-time-budget=5000", "--dump-dom",
               f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "map.html").as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    found = re.search(r'data-report="([^"]*)"', done.stdout.decode())
    assert found is not None, done.stderr.decode()
    report = json.loads(found[1].replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert report["hover"] == f"{EVIL}, refund{EVIL}probability 1.00"
    assert report["title"] == "Clusters of a & b"
    assert (report["colours"], report["coloursSelected"], report["scale"]) == (3, 2, 2)
    assert report["selected"] == "true"
    assert report["rows"] == [[True, "3"], [False, "1"], [True, "1"]]
