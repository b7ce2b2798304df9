from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
import pytest

import farthing
from farthing.cli import main
from farthing.core.errors import CheckpointError, DimensionsError, FarthingError, InputError, SettingsError


def farthing_command(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "farthing", *args], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_listed_command_exists_and_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([name, "--help"]) == 0
    assert f"Usage: farthing {name}" in capsys.readouterr().out


def test_python_m_farthing_prints_the_version() -> None:
    done = farthing_command("--version")
    assert (done.returncode, done.stdout) == (0, f"farthing {farthing.__version__}\n")


@pytest.mark.parametrize("args", [[], ["--help"], ["embed", "--help"], ["bench", "--help"]])
def test_help_does_not_load_torch(args: list[str]) -> None:
    script = f"import sys; from farthing.cli.main import run; run({args!r}); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Usage: farthing" in done.stdout + done.stderr


def test_help_lists_all_commands_with_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["-h"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name}" in shown and entry.help in shown for name, entry in main.COMMANDS.items())


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("embd", "Did you mean 'embed'?"),
        ("xyz", f"Commands: {', '.join(main.COMMANDS)}."),
    ],
)
def test_an_unknown_command_gets_a_hint(typed: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([typed]) == 2
    assert f"Error: No such command '{typed}'. {hint}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (["index", "lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["index", "xyz"], "Commands: create, add, list, info, delete, compact, reindex."),
        (["models", "xyz"], "Commands: list, remove."),
        (["config", "chek"], "Did you mean 'check'?"),
    ],
)
def test_groups_name_their_commands_too(typed: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(typed) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (["help"], "Usage: farthing [OPTIONS] COMMAND"),
        (["help", "search"], "Usage: farthing search [OPTIONS] STORE"),
        (["help", "index"], "Usage: farthing index [OPTIONS] COMMAND"),
        (["help", "index", "add"], "Usage: farthing index add [OPTIONS] STORE"),
    ],
)
def test_help_is_a_command_as_well(words: list[str], usage: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(words) == 0
    assert usage in capsys.readouterr().out


@pytest.mark.parametrize("name", ["serve", "embed", "search", "rerank", "quantize", "plan", "pull"])
def test_help_of_a_command_is_a_page_or_two(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([name, "--help"]) == 0
    assert len(capsys.readouterr().out.splitlines()) <= 80


def test_colours_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    colours: list[bool | None] = []
    replace_info(monkeypatch, lambda: colours.append(click.get_current_context().color))
    for value in ("", "1"):
        monkeypatch.setenv("NO_COLOR", value)
        main.run(["info"])
    assert colours == [None, False]


@pytest.mark.parametrize(
    ("words", "index", "found"),
    [
        ("farthing ind", 1, "plain,index"),
        ("farthing index co", 2, "plain,compact"),
        ("farthing search --wh", 2, "plain,--where"),
    ],
)
def test_shells_complete_commands_and_flags(
    words: str, index: int, found: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"_FARTHING_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(index)}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        main.run([])
    assert end.value.code == 0
    assert capsys.readouterr().out.split() == [found]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_shells_are_told_how_to_complete(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_FARTHING_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit):
        main.run([])
    assert f"_FARTHING_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--bogus"]) == 2
    assert "No such option '--bogus'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (["cluster", "a.txt", "--json"], "No such option '--json'.\n"),
        (["embed", "m", "a.txt", "--ouput", "b"], "No such option '--ouput'. Did you mean '--output'?"),
        (["dedup", "a.txt", "--treshold", "1"], "No such option '--treshold'. Did you mean '--threshold'?"),
        (["index", "info", "a", "--jsn"], "No such option '--jsn'. Did you mean '--json'?"),
    ],
)
def test_only_an_option_that_is_near_is_taken_for_the_one_that_was_meant(
    typed: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(typed) == 2
    assert f"Error: {hint}" in capsys.readouterr().err


def test_settings_in_an_error_are_named_as_flags(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise InputError("Text 0 has 0 visible characters. Leave it out, or set short_text to zero (zero vectors).")

    replace_info(monkeypatch, fail)
    assert main.run(["info"]) == 2
    assert capsys.readouterr().err.endswith("Leave it out, or give --short-text zero (zero vectors).\n")


def replace_info(monkeypatch: pytest.MonkeyPatch, body: Callable[[], None]) -> None:
    monkeypatch.setattr(import_module("farthing.cli.info"), "info", click.command("info")(body))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("port is 1"), 2),
        (DimensionsError("dimensions is 9"), 2),
        (CheckpointError("no weights"), 1),
        (FarthingError("other"), 1),
        (FileNotFoundError(2, "No such file or directory", "x.bin"), 1),
    ],
)
def test_errors_become_one_line_and_an_exit_code(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    replace_info(monkeypatch, fail)
    assert main.run(["info"]) == code
    assert capsys.readouterr().err == f"Error: {error}\n"


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    replace_info(monkeypatch, fail)
    with pytest.raises(ZeroDivisionError):
        main.run(["info"])


def test_an_interrupt_ends_with_130_and_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    replace_info(monkeypatch, interrupt)
    assert main.run(["info"]) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


def test_a_reader_that_goes_away_is_no_error_to_speak_of(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import click, farthing.cli.info as info\n"
        "from farthing.cli.main import main\n"
        "info.info = click.command('info')(lambda: [click.echo('x' * 80) for _ in range(100_000)])\n"
        "main(['info'])\n"
    )
    done = subprocess.run(
        f"{sys.executable} {script} | head -n 1", shell=True, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("x" * 80 + "\n", "")


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("cp1252", "é \\u96e8 \\ud83d\\ude00 \\udce9"), ("ascii", "\\u00e9 \\u96e8 \\ud83d\\ude00 \\udce9")],
)
def test_what_the_terminals_encoding_lacks_is_printed_as_escapes_that_are_json_too(
    encoding: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = "é 雨 😀 \udce9"
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    replace_info(monkeypatch, lambda: print(json.dumps(printed, ensure_ascii=False)))
    assert main.run(["info"]) == 0
    shown = stream.buffer.getvalue().decode(encoding).strip()  # type: ignore[attr-defined]
    assert shown == f'"{expected}"'
    assert json.loads(shown) == printed


def test_a_file_name_that_is_not_utf_8_is_printed_on_a_utf_8_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    replace_info(monkeypatch, lambda: print("caf\udce9.md 雨"))
    assert main.run(["info"]) == 0
    assert stream.buffer.getvalue().decode() == "caf\\udce9.md 雨\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("number", "place", "message"),
    [
        (errno.ENOSPC, "v.npy", "The disk is full: nothing more can be written to v.npy. Make room and try again."),
        (errno.EDQUOT, None, "The disk is full: nothing more can be written. Make room and try again."),
        (errno.EROFS, "v.npy", "v.npy cannot be read or written: Read-only file system. Choose another place, or "),
        (errno.EACCES, "v.npy", "v.npy cannot be read or written: Permission denied. Choose another place, or allow"),
    ],
)
def test_what_the_operating_system_refuses_is_a_sentence(
    number: int, place: str | None, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise OSError(number, os.strerror(number), place)

    replace_info(monkeypatch, fail)
    assert main.run(["info"]) == 1
    assert capsys.readouterr().err.startswith(f"Error: {message}")
