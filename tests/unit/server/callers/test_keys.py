from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from farthing.core.errors import SettingsError
from farthing.core.settings import AccessSettings
from farthing.server.callers.keys import Caller, find_caller, read_keys

DIGEST = sha256(b"second-key").hexdigest()


def settings_of(tmp_path: Path, text: str, **others: object) -> AccessSettings:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    return AccessSettings(api_keys_file=str(path), **others)  # type: ignore[arg-type]


def test_keys_have_the_servers_limits_or_their_own(tmp_path: Path) -> None:
    text = """
    # a comment
    [team-a]
    key = "first-key"
    [team.b]
    key = "nested tables are no keys"
    """
    with pytest.raises(SettingsError, match="API key 'team': unknown field 'b'"):
        read_keys(settings_of(tmp_path, text))
    text = f"""
    [team-a]
    key = "first-key"
    [team_b]
    sha256 = "{DIGEST.upper()}"
    requests_per_minute = 5
    tokens_per_minute = 0
    """
    keys = read_keys(settings_of(tmp_path, text, api_key="third-key", requests_per_minute=1, tokens_per_minute=2))
    assert find_caller(keys, b"first-key") == Caller("team-a", 1, 2)
    assert find_caller(keys, b"second-key") == Caller("team_b", 5, None)
    assert find_caller(keys, b"third-key") == Caller("default", 1, 2)
    assert find_caller(keys, b"fourth-key") is None
    assert find_caller(keys, DIGEST.encode()) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no key"),
        ("a = 'hunter2hunter2'", "API key 'a': it must be a table, [a], with"),
        ("[a]", "API key 'a': it needs either key or sha256."),
        (f"[a]\nkey = 'hunter2hunter2'\nsha256 = '{DIGEST}'", "it needs either key or sha256."),
        ("[a]\nkey = 'hunter 2'", "key must be at least 8 printable ASCII characters without spaces."),
        ("[a]\nkey = ''", "key must be at least 8 printable"),
        ("[a]\nkey = 'hunter2'", "key must be at least 8 printable"),
        ("[a]\nkey = 7112", "key must be at least 8 printable"),
        ("[a]\nsha256 = 'hunter2hunter2'", "sha256 must be 64 hexadecimal digits."),
        ("[a]\nkey = 'hunter2hunter2'\nrpm = 5", "unknown field 'rpm'; known are key, sha256, requests_per_minute"),
        (
            "[a]\nkey = 'hunter2hunter2'\ntokens_per_minute = -1",
            "tokens_per_minute must be a whole number; 0 for no limit.",
        ),
        ("[a]\nkey = 'hunter2hunter2'\ntokens_per_minute = true", "tokens_per_minute must be a whole number"),
        ("['a b']\nkey = 'hunter2hunter2'", "API key 'a b': a name has 1 to 64 letters"),
        ("[a]\nkey = 'hunter2hunter2'\n[b]\nkey = 'hunter2hunter2'", "The API keys 'a' and 'b' are the same."),
        ("[default]\nkey = 'hunter2hunter2'", "There are two API keys of the name 'default'."),
        ("[a]\nkey = 'hunter2hunter2", "is not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_and_no_key_repeated(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_keys(settings_of(tmp_path, text, api_key="set-here" if "default" in text else None))
    assert message in str(caught.value)
    assert "hunter" not in str(caught.value)
    assert "7112" not in str(caught.value)


def test_a_file_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"Cannot read the file of API keys .*nothing"):
        read_keys(AccessSettings(api_keys_file=str(tmp_path / "nothing")))
