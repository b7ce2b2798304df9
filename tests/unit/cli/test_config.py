from __future__ import annotations

from pathlib import Path

import pytest

from farthing.cli.main import run

FILE = """
memory = "6GB"
[models.large]
model = "Qwen/Qwen3-Embedding-0.6B"
aliases = ["text-embedding-3-small"]
memory_share = 0.6
preload = true
[models.starter]
keep_alive_s = 600
memory = "1GB"
[routes]
best = ["large", "starter"]
"""


HUGE = [
    ("a = " + "[" * 200_000, "it nests too deep"),
    ("port = " + "9" * 100_000, "farthing.toml cannot be read: "),
    ("port = 0x" + "f" * 100_000, "port is a number of thousands of digits; it must be a whole number of at most"),
    (f'port = "{"9" * 100_000}"', "it must be a whole number"),
    (f"[models]\nm = [{'1, ' * 100_000}]", "it must be a table"),
    ("a" * 100_000 + " = 1", "Unknown setting aaa"),
    (f"[models.m]\n{'a' * 100_000} = 1", "Unknown key aaa"),
    (f'[models.m]\n[routes]\nr = ["{"m" * 100_000}"]', "names the model"),
]


def test_a_valid_file_is_shown_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FARTHING_CACHE_DIR", raising=False)  # which all tests have
    file = tmp_path / "farthing.toml"
    file.write_text(FILE)
    assert run(["config", "check", str(file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "model large: from Qwen/Qwen3-Embedding-0.6B, loaded at the start, 60% of the memory, "
        "also called text-embedding-3-small",
        "model starter: from starter, loaded when it is first asked, unloaded after 600 s, 1GB of memory",
        "route best: large, then starter",
        "memory = 6GB (file)",
        f"{file} is valid.",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[models.a]\nformt = 'int8'", "Unknown key formt in [models.a]. Did you mean format?"),
        ("prot = 80", "Unknown setting prot (file). Did you mean port?"),
        ("port = ", "is not valid TOML"),
        ("[server]\nport = 1", "has a table [server]; settings stand at its top"),
        ("[routes]\nbest = ['a']", "has [routes], and no [models.NAME]"),
        *(pytest.param(text, message, id=message) for text, message in HUGE),
    ],
)
def test_a_mistake_is_an_error_with_status_2(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "farthing.toml"
    file.write_text(text)
    assert run(["config", "check", str(file)]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told) < 5000


def test_a_missing_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "check", str(tmp_path / "none.toml")]) == 2
    assert "Cannot read the config file" in capsys.readouterr().err


def test_a_file_of_very_many_models_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Types of settings were once found out again for each model: 10,000 took minutes."""
    file = tmp_path / "farthing.toml"
    file.write_text("".join(f'[models.m{number}]\nmodel = "x{number}"\n' for number in range(5000)))
    assert run(["config", "check", str(file)]) == 0
    assert "model m4999: from x4999" in capsys.readouterr().out
