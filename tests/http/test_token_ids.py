"""Token ids in the place of texts: the model's own, or another tokenizer's."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
import tiktoken

from farthing.core.errors import SettingsError
from farthing.core.settings import AccessSettings, ServerSettings
from farthing.server.dialects.token_ids import TokenIds

WARNING = "inputs are token ids, which were taken as this model's own"
ROUTES = [("/v1/embeddings", "input"), ("/embed", "inputs"), ("/embed_all", "inputs")]


def ask(running: Any, ids: Any, path: str = "/v1/embeddings", name: str = "input", key: str = "") -> httpx.Response:
    headers = {"x-api-key": key} if key else {}
    return httpx.post(f"{running.url}{path}", json={name: ids}, headers=headers, timeout=60)


def vector(answer: httpx.Response) -> list[float]:
    assert answer.status_code == 200, answer.text
    found: list[float] = answer.json()["data"][0]["embedding"]
    return found


def test_each_client_is_warned_once_and_each_answer_says_so(
    launch: Any, tiny_qwen3: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text('[one]\nkey = "sk-of-the-first-client"\n[two]\nkey = "sk-of-the-second-client"\n')
    keys.chmod(0o600)
    with launch(tiny_qwen3, access=AccessSettings(api_keys_file=str(keys))) as running:
        for _ in range(3):
            for key in ("sk-of-the-first-client", "sk-of-the-second-client"):
                for path, name in ROUTES:
                    assert WARNING in ask(running, [[12, 13]], path, name, key).headers["x-farthing-warning"]
                assert "x-farthing-warning" not in ask(running, ["a"], key=key).headers
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [message.split(" sends ")[0] for message in warnings] == ["The client one", "The client two"]


def test_they_can_be_refused(launch: Any, tiny_qwen3: Path) -> None:
    with launch(tiny_qwen3, server=ServerSettings(token_ids="refuse")) as running:
        for path, name in ROUTES:
            answer = ask(running, [12, 13], path, name)
            assert answer.status_code in (400, 422)
            assert "check_embedding_ctx_length=False" in answer.text
            assert ask(running, ["a"], path, name).status_code == 200
        assert httpx.post(f"{running.url}/decode", json={"ids": [12, 13]}).status_code == 200  # they are its own there


def test_they_can_be_made_texts_by_another_vocabulary(launch: Any, tiny_qwen3: Path, starter_dir: Path) -> None:
    from tokenizers import Tokenizer

    path = str(starter_dir / "tokenizer.json")
    ids = Tokenizer.from_file(path).encode("a wren in the tree").ids
    settings = ServerSettings(token_ids="decode", token_ids_vocabulary=path)
    with launch(tiny_qwen3, server=settings) as running:
        answer = ask(running, [ids, ids[:3]])
        assert "x-farthing-warning" not in answer.headers
        assert vector(answer) == pytest.approx(vector(ask(running, "a wren in the tree")), abs=1e-6)
        for wrong in (30_522, -1, 2**63):
            refused = ask(running, [[7592], [7592, wrong]])
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input[1]")
            assert f"({wrong})" in refused.text
        many = ask(running, [[7592] * 90_000])
        assert many.status_code == 400  # more tokens than the context has


def test_those_of_openai_are_decoded_by_tiktoken(
    launch: Any, tiny_qwen3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a vocabulary of bytes, since the real one would have to be downloaded."""
    words = {bytes([number]): number for number in range(256)} | {b"wren": 256}
    special = {"<|endoftext|>": 300}
    small = tiktoken.Encoding("small", pat_str=r"\w+| |.", mergeable_ranks=words, special_tokens=special)
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: {"cl100k_base": small}[name])
    with launch(tiny_qwen3, server=ServerSettings(token_ids="decode")) as running:
        assert vector(ask(running, [[97, 32, 256]])) == pytest.approx(vector(ask(running, "a wren")), abs=1e-6)
        cut = ask(running, [[97, 195]])  # half of an é
        assert vector(cut) == pytest.approx(vector(ask(running, "a\ufffd")), abs=1e-6)
        gap = ask(running, [[97, 299]])
        assert (gap.status_code, gap.json()["error"]["param"]) == (400, "input[0]")
        assert ask(running, [[97, 301]]).status_code == 400


def test_a_vocabulary_that_there_is_not_is_an_error_at_the_start(tmp_path: Path, starter_dir: Path) -> None:
    broken = tmp_path / "tokenizer.json"
    broken.write_text("{")
    for name in ("nonsense", str(tmp_path / "none.json"), str(broken)):
        with pytest.raises(SettingsError) as caught:
            TokenIds(ServerSettings(token_ids="decode", token_ids_vocabulary=name))
        assert caught.value.param == "token_ids_vocabulary"
    copied = shutil.copy(starter_dir / "tokenizer.json", tmp_path / "other.json")
    TokenIds(ServerSettings(token_ids="decode", token_ids_vocabulary=str(copied)))
