from __future__ import annotations

import pytest

from farthing.core.errors import SettingsError
from farthing.core.origins import Origins

LISTED = {
    "https://app.example.org": ["https://app.example.org"],
    "https://app.example.org/": ["https://app.example.org"],
    "HTTPS://App.Example.org:443": ["https://app.example.org"],
    "http://localhost:3000": ["http://localhost:3000"],
    "http://127.0.0.1:80": ["http://127.0.0.1"],
    "http://[0:0::1]:3000": ["http://[::1]:3000"],
    "https://*.example.org": ["https://a.example.org", "https://a.b.example.org"],
    "https://*.example.org:8443": ["https://a.example.org:8443"],
    "http://localhost:*": ["http://localhost", "http://localhost:5173"],
    "https://*:*": ["https://any.example:1", "https://other.example"],
    "app://obsidian.md": ["app://obsidian.md"],
    "app://-": ["app://-"],
    "app://.": ["app://."],
    "chrome-extension://abcdefghijklmnop": ["chrome-extension://abcdefghijklmnop"],
    "moz-extension://*": ["moz-extension://0b2c1b52-26b6-4b6f-8a5e-5b3c3f1c9a3d"],
    "tauri://localhost": ["tauri://localhost"],
    "capacitor://localhost": ["capacitor://localhost"],
    "vscode-webview://*": ["vscode-webview://1ab2c3"],
    "file://": ["file://"],
    "null": ["null"],
    "*": ["null", "https://evil.example", "app://x"],
}
NEVER = [
    "", "https://", "https://evilexample.org", "https://a.example.org.evil.example", "https://app.example.org:444",
    "http://app.example.org", "https://app.example.org/", "https://app.example.org@evil.example",
    "https://evil.example#.example.org", "http://localhost.evil.example", "http://evil.example:3000", "NULL",
    "chrome-extension://other", "https://a.example.org, https://b.example", "https://\xe9.example.org", "evil://localhost",
]  # fmt: skip


@pytest.mark.parametrize("listed", LISTED)
def test_an_entry_fits_its_origins_and_no_strangers(listed: str) -> None:
    origins = Origins([listed], param="cors_origins")
    assert all(map(origins.has, LISTED[listed]))
    if listed not in ("*", "https://*:*"):
        assert not list(filter(origins.has, NEVER))


def test_entries_without_patterns_fit_nothing_but_themselves() -> None:
    everybody = {origin for origins in LISTED.values() for origin in origins}
    for listed, fit in LISTED.items():
        if "*" not in listed:
            assert set(filter(Origins([listed], param="cors_origins").has, everybody)) == set(fit)


@pytest.mark.parametrize(
    "text",
    ["example.org", "localhost:3000", "https://", "https://a.example/path", "https://a.example?x", "https://a.example#x",
     "https://user@a.example", "https://a b.example", "https://a.*.example", "https://*a.example", "https://*.",
     "https://münchen.example", "https://a.example:0", "https://a.example:99999", "https://a.example:x", "https://127.1",
     "http://127.0.0.01", "ws://a.example", "1app://x", "://a.example", "app://a*", "app://a/b", "https://a.example//"],
)  # fmt: skip
def test_what_can_never_fit_is_an_error(text: str) -> None:
    with pytest.raises(SettingsError, match="no origin of a page"):
        Origins([text], param="cors_origins")
