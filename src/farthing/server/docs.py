"""The page at /docs: the OpenAPI document as one self-contained HTML page.

In: the document and the address of the server. Out: HTML without scripts, fonts or anything else to be loaded, so that
it works on machines without a network. It shows and does not send: each example is a command line to copy.
"""

from __future__ import annotations

import json
import shlex
from html import escape
from typing import Any

Json = dict[str, Any]

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h2 {{ margin-top: 2.5rem; border-top: 1px solid #8886; padding-top: 1.5rem; font-size: 1.2rem; }}
code, pre {{ font: 0.875rem/1.5 ui-monospace, monospace; }}
pre {{ padding: 0.75rem 1rem; background: #8882; border-radius: 6px; overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.35rem 1rem 0.35rem 0; border-bottom: 1px solid #8884; }}
</style>
</head>
<body>
<h1>{title} {version}</h1>
<p>{description} The machine-readable description is <a href="/openapi.json">openapi.json</a>.</p>
{operations}
</body>
</html>
"""


def render_page(document: Json, base_url: str) -> str:
    """`document` as HTML; `base_url` is what the example commands call."""
    operations = [
        render_operation(document, base_url.rstrip("/") + path, method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    info = {name: escape(text) for name, text in document["info"].items()}
    return PAGE.format(**info, operations="\n".join(operations))


def render_operation(document: Json, url: str, method: str, path: str, operation: Json) -> str:
    parts = [f"<h2><code>{method} {escape(path)}</code> {escape(operation['summary'])}</h2>"]
    if "description" in operation:
        parts.append(f"<p>{escape(operation['description'])}</p>")
    if "requestBody" in operation:
        schema = json_schema(operation["requestBody"])
        parts.append(render_fields(schema))
        parts.extend(render_curl(url, example) for example in schema["examples"])
    elif "parameters" not in operation:
        parts.append(render_curl(url))
    parts.append(render_responses(document, operation["responses"]))
    return "\n".join(parts)


def render_curl(url: str, body: Json | None = None) -> str:
    command = ["curl", url]
    if body is not None:
        command += ["-H", "content-type: application/json", "-d", json.dumps(body)]
    return f"<pre>{escape(shlex.join(command))}</pre>"


def render_fields(schema: Json) -> str:
    rows = [
        f"<tr><td><code>{escape(name)}</code></td><td><code>{escape(type_name(field))}</code></td>"
        f"<td>{escape(field.get('description', ''))}</td></tr>"
        for name, field in schema["properties"].items()
    ]
    return f"<table><tr><th>Field</th><th>Type</th><th>Meaning</th></tr>{''.join(rows)}</table>"


def render_responses(document: Json, responses: Json) -> str:
    rows, examples = [], []
    for status, response in responses.items():
        rows.append(f"<tr><td><code>{escape(status)}</code></td><td>{escape(response['description'])}</td></tr>")
        reference = json_schema(response).get("$ref", "")
        example = document["components"]["schemas"].get(reference.rpartition("/")[2], {}).get("example")
        if example is not None:
            examples.append(f"<pre>{escape(json.dumps(example, indent=2))}</pre>")
    return f"<table><tr><th>Status</th><th>Meaning</th></tr>{''.join(rows)}</table>{''.join(examples)}"


def json_schema(holder: Json) -> Json:
    """The schema of a request body or response; empty for other media types."""
    schema: Json = holder.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def type_name(schema: Json) -> str:
    """A JSON schema in a few characters: `string | [string]`, `"float" | "base64"`. Null goes without saying."""
    if "anyOf" in schema:
        return " | ".join(type_name(option) for option in schema["anyOf"] if option.get("type") != "null")
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"[{type_name(schema['items'])}]"
    return str(schema.get("type", "any"))
