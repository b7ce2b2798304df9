from __future__ import annotations

import time

import pytest

from farthing.core.errors import InputError
from farthing.toolkit.documents.reading.html import title_and_text

PAGE = """<!DOCTYPE html><html><head><title>Opening &amp;
 hours</title><style>a{color:red}</style></head>
<body><nav><a href=x>Home</a> <a>Help</a></nav>
<h1>Our <em>hours</em></h1><p>We open <b>at</b> nine<br>and close
   at five.<ul><li>Monday<li>Tue<b>s</b>day</ul>
<script>var a = "<p>no</p>";</script><pre>
for x:
    y```
</pre><table><tr><td>a<td>b<tr><td>1<td>2</table>été 中文<div>tail</div></body>"""


def test_a_page_s_text_comes_as_markdown_without_what_nobody_reads() -> None:
    title, text = title_and_text(PAGE, "a.html")
    assert title == "Opening & hours"
    assert text == (
        "Home Help\n\n# Our hours\n\nWe open at nine\nand close at five.\n\n- Monday\n- Tuesday\n\n"
        "````\nfor x:\n    y```\n````\n\na b\n1 2\n\nété 中文\ntail\n"
    )


def test_the_first_heading_is_the_title_where_there_is_none() -> None:
    assert title_and_text("<p>before<h2>What  it is</h2>after", "a.html") == (
        "What it is",
        "before\n\n## What it is\n\nafter\n",
    )
    assert title_and_text("", "a.html") == ("", "\n")


@pytest.mark.parametrize("page", ["<div>" * 200_000 + "x", "<font>" * 100_000 + "</p>" * 100_000])
def test_a_page_that_nests_without_end_is_refused(page: str) -> None:
    with pytest.raises(InputError, match=r"The elements of a\.html nest deeper than 1,000"):
        title_and_text(page, "a.html")


@pytest.mark.parametrize(
    "page",
    [
        "<!--" * 200_000, "<a " * 200_000, "<p>hi <b>there</b>" * 30_000, "<script>" * 100_000, "<" * 500_000,
        "<select>" * 900 + "<option>" * 50_000, "<pre>" + "`" * 300_000, "<table><tr><td>" * 200 + "</table>" * 50_000,
        "<a " + "b " * 200_000 + ">", "<title>a" * 50_000, "&" * 500_000,
    ],
)  # fmt: skip
def test_no_page_takes_long(page: str) -> None:
    started = time.process_time()
    title_and_text(page, "a.html")
    assert time.process_time() - started < 10  # a second here at most; what goes back and forth takes minutes
