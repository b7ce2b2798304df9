"""The page at /docs: the OpenAPI document as one self-contained HTML page.

In: the document and the address of the server. Out: HTML. The page shows requests and does not send them: each example
is a command line to copy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from farthing.server.pages.page import render_curl, render_page

Json = dict[str, Any]

SEPARATORS = re.compile("[^a-z0-9]+")


def render_docs(document: Json, base_url: str) -> str:
    """Return `document` as HTML; `base_url` is the address that the example commands call."""
    found = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    title, version, description = (escape(document["info"][name]) for name in ("title", "version", "description"))
    parts = [
        f"<h1>{title} {version}</h1>",
        f'<p>{description} The machine-readable description is <a href="/openapi.json">openapi.json</a>.</p>',
        render_contents(found),
    ]
    url = base_url.rstrip("/")
    parts += [render_operation(document, url + path, method, path, operation) for method, path, operation in found]
    return render_page(document["info"]["title"], parts)


def render_contents(found: Sequence[tuple[str, str, Json]]) -> str:
    """Return links to the operations, grouped by dialect."""
    groups: dict[str, list[str]] = {}
    for method, path, operation in found:
        link = f'<a href="#{anchor(method, path)}"><code>{method} {escape(path)}</code></a>'
        groups.setdefault(operation["tags"][0], []).append(f"<li>{link} {escape(operation['summary'])}</li>")
    lists = [f"<h3>{escape(tag)}</h3><ul>{''.join(items)}</ul>" for tag, items in groups.items()]
    return f"<nav><h2>Contents</h2>{''.join(lists)}</nav>"


def anchor(method: str, path: str) -> str:
    """Return the anchor of an operation on the page, made of letters, digits and dashes."""
    return SEPARATORS.sub("-", f"{method}{path}".lower()).strip("-")


def render_operation(document: Json, url: str, method: str, path: str, operation: Json) -> str:
    name = anchor(method, path)
    heading = f'<a href="#{name}"><code>{method} {escape(path)}</code></a> {escape(operation["summary"])}'
    parts, needs_key = [f'<h2 id="{name}">{heading}</h2>'], "security" in operation
    if "description" in operation:
        parts.append(f"<p>{escape(operation['description'])}</p>")
    if "requestBody" in operation:
        schema = json_schema(operation["requestBody"])
        parts.append(render_fields(schema))
        parts.extend(render_curl(url, example, needs_key=needs_key) for example in schema["examples"])
    elif not any(parameter["in"] == "path" for parameter in operation.get("parameters", ())):
        parts.append(render_curl(url, needs_key=needs_key))
    parts.append(render_responses(document, operation["responses"]))
    return "\n".join(parts)


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
        example = example_of(document, response)
        if example is not None:
            examples.append(f"<p>An answer:</p><pre>{escape(json.dumps(example, indent=2))}</pre>")
    return f"<table><tr><th>Status</th><th>Meaning</th></tr>{''.join(rows)}</table>{''.join(examples)}"


def example_of(document: Json, response: Json) -> Any:
    """Return the response's own example, or that of its schema; None where there is neither."""
    content = response.get("content", {}).get("application/json", {})
    if "example" in content:
        return content["example"]
    name = json_schema(response).get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"].get(name, {}).get("example")


def json_schema(holder: Json) -> Json:
    """Return the schema of a request body or response; it is empty for other media types."""
    schema: Json = holder.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def type_name(schema: Json) -> str:
    """Return a JSON schema in a few characters: `string | [string]`, `"float" | "base64"`. Null is left out."""
    if "anyOf" in schema:
        return " | ".join(type_name(option) for option in schema["anyOf"] if option.get("type") != "null")
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"[{type_name(schema['items'])}]"
    return str(schema.get("type", "any"))
