"""What the pages for browsers share: one shape, and headers that let a browser load and run nothing.

In: a title and markup, in which the caller has escaped every word that is not ours. Out: a page without scripts, fonts
or anything else to be loaded, so that it works on machines without a network.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Sequence
from html import escape
from typing import Any

from starlette.responses import HTMLResponse

# Long lines are wrapped on the page; copied, they are one line again.
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-top: 1px solid #8886; padding-top: 1.5rem; font-size: 1.2rem; }
h3 { font-size: 1rem; margin-bottom: 0; }
h2 > a { color: inherit; text-decoration: none; }
nav ul { list-style: none; padding: 0; margin: 0.25rem 0; }
code, pre { font: 0.875rem/1.5 ui-monospace, monospace; }
pre { padding: 0.75rem 1rem; background: #8882; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 1rem 0.35rem 0; border-bottom: 1px solid #8884; }
"""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
STYLE_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{STYLE_DIGEST}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
KEY_HEADER = "authorization: Bearer KEY"


def render_page(title: str, parts: Sequence[str]) -> str:
    """Return a page with this title; `parts` are its markup."""
    return PAGE.format(title=escape(title), style=STYLE, body="\n".join(parts))


def html_answer(page: str) -> HTMLResponse:
    return HTMLResponse(page, headers=HEADERS)


def render_curl(url: str, body: dict[str, Any] | None = None, *, needs_key: bool = False) -> str:
    """Return a curl command to copy, as markup."""
    command = ["curl", url]
    if needs_key:
        command += ["-H", KEY_HEADER]
    if body is not None:
        command += ["-H", "content-type: application/json", "-d", json.dumps(body)]
    return f"<pre>{escape(shlex.join(command))}</pre>"
