"""API keys and limits a minute, as clients meet them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest

from farthing.core.errors import SettingsError
from farthing.core.settings import AccessSettings, ConnectionSettings
from farthing.server.callers.keys import read_keys
from farthing.server.limits import rate_counts

SECRET, OTHER = "sk-of-the-search-team", "sk-of-somebody-else"


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    digest = sha256(OTHER.encode()).hexdigest()
    path.write_text(
        f'# ours\n[search-team]\nkey = "{SECRET}"\n\n[other]\nsha256 = "{digest}"\nrequests_per_minute = 2\n'
    )
    return path


@pytest.fixture(scope="module")
def guarded(launch: Any, tiny_qwen3: Path, keys_file: Path) -> Iterator[Any]:
    """A server with two keys in a file, of which one may ask twice a minute, and one as a setting."""
    access = AccessSettings(api_key="sk-of-the-setting", api_keys_file=str(keys_file))
    with launch(tiny_qwen3, access=access) as running:
        yield running


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time of the counts in memory: one second after a full minute, until a test moves it."""
    held = SimpleNamespace(now=60_000_001.0)
    monkeypatch.setattr(rate_counts, "time", SimpleNamespace(monotonic=lambda: held.now))
    return held


def embed(running: Any, headers: dict[str, str] | None = None, texts: object = "a") -> httpx.Response:
    return httpx.post(f"{running.url}/v1/embeddings", json={"input": texts}, headers=headers, timeout=60)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {SECRET}"},
        {"authorization": f"bearer  {SECRET}"},
        {"x-api-key": SECRET},
        {"authorization": "Bearer EMPTY", "x-api-key": SECRET},
        {"authorization": "Bearer sk-of-the-setting"},
        {"authorization": f"Bearer {OTHER}"},
    ],
)
def test_a_known_key_is_let_in_however_it_is_sent(guarded: Any, headers: dict[str, str]) -> None:
    assert embed(guarded, headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {SECRET}"},
        {"authorization": SECRET},
        {"x-api-key": SECRET + "x"},
        {"x-api-key": sha256(SECRET.encode()).hexdigest()},
        {"x-api-key": "\xe9".encode("latin-1")},
    ],
)
def test_anything_else_is_refused_in_openais_shape_and_not_repeated(guarded: Any, headers: dict[str, Any]) -> None:
    answer = embed(guarded, headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    assert ("No API key was sent" in error["message"]) == (not headers or ("authorization" in headers and
                                                           "Bearer" not in headers["authorization"]))  # fmt: skip
    assert SECRET not in answer.text
    assert "wrong" not in answer.text


def test_every_route_but_the_public_ones_needs_a_key(guarded: Any) -> None:
    public = {"/docs", "/openapi.json", "/health", "/metrics"}
    routes = httpx.get(f"{guarded.url}/openapi.json").json()["paths"]
    for path, methods in routes.items():
        for method in methods:
            status = httpx.request(method, guarded.url + path).status_code
            assert (status == 401) == (path not in public), path
    for path in {"/", *public}:
        assert httpx.get(guarded.url + path).status_code == 200
    assert httpx.post(guarded.url, json={"inputs": "a"}).status_code == 401


def test_health_and_metrics_can_need_a_key_too(launch: Any, tiny_qwen3: Path) -> None:
    access = AccessSettings(api_key=SECRET, public_health=False, public_metrics=False)
    with launch(tiny_qwen3, access=access) as running:
        for path in ("/health", "/metrics"):
            assert httpx.get(running.url + path).status_code == 401
            assert httpx.get(running.url + path, headers={"x-api-key": SECRET}).status_code == 200


def test_the_access_line_has_the_keys_name_and_no_log_has_the_key(
    guarded: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    embed(guarded, {"x-api-key": SECRET})
    embed(guarded, {"x-api-key": "sk-unknown"})
    lines = [record.getMessage() for record in caplog.records if record.name == "farthing.server.observe.middleware"]
    assert " key=search-team " in lines[0]
    assert "key=" not in lines[1]
    assert not [record for record in caplog.records if SECRET in record.getMessage() or "sk-unk" in record.getMessage()]


def test_openais_client_sends_its_key_and_raises_its_own_errors(guarded: Any) -> None:
    with openai.OpenAI(base_url=f"{guarded.url}/v1", api_key=SECRET) as client:
        assert client.embeddings.create(model="test-model", input="a").data
    with (
        openai.OpenAI(base_url=f"{guarded.url}/v1", api_key="wrong") as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.embeddings.create(model="test-model", input="a")


def test_keys_are_read_again_and_kept_when_the_file_is_broken(
    launch: Any, tiny_qwen3: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.toml"
    path.write_text('[a]\nkey = "first-key"\n')
    with launch(tiny_qwen3, access=AccessSettings(api_keys_file=str(path))) as running:
        guard = running.app.state.guard
        path.write_text('[a]\nkey = "second-key"\n')
        assert embed(running, {"x-api-key": "first-key"}).status_code == 200
        guard.reload()
        assert embed(running, {"x-api-key": "first-key"}).status_code == 401
        assert embed(running, {"x-api-key": "second-key"}).status_code == 200
        path.write_text("[a]\nkey = ")
        guard.reload()
        assert "stay as they were" in caplog.text
        assert embed(running, {"x-api-key": "second-key"}).status_code == 200


def test_requests_over_the_limit_are_refused_with_when_to_come_back(
    launch: Any, tiny_qwen3: Path, clock: SimpleNamespace
) -> None:
    with launch(tiny_qwen3, access=AccessSettings(requests_per_minute=3)) as running:
        answers = [embed(running) for _ in range(5)]
        assert httpx.get(f"{running.url}/health").status_code == 200  # counts for nobody
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["2", "1", "0", "0", "0"]
    assert {answer.headers["x-ratelimit-limit-requests"] for answer in answers} == {"3"}
    assert "x-ratelimit-limit-tokens" not in answers[0].headers
    # The three count in full until the minute is over, in 59 s, and then fade: a third of one after 0.2 s more.
    assert answers[3].headers["x-ratelimit-reset-requests"] == "1m59s"
    assert answers[3].headers["retry-after"] == "60"
    error = answers[3].json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "limit of 3 requests a minute" in error["message"]


def test_who_waits_as_long_as_he_was_told_is_let_in(launch: Any, tiny_qwen3: Path, clock: SimpleNamespace) -> None:
    with launch(tiny_qwen3, access=AccessSettings(requests_per_minute=2)) as running:
        assert [embed(running).status_code for _ in range(3)] == [200, 200, 429]
        clock.now += int(embed(running).headers["retry-after"]) - 1
        assert embed(running).status_code == 429
        clock.now += 1
        assert embed(running).status_code == 200
    with launch(tiny_qwen3, access=AccessSettings(tokens_per_minute=1000)) as running:
        assert embed(running, texts=["word " * 500] * 8).status_code == 200
        clock.now += 50
        refused = embed(running)
        assert refused.status_code == 429
        clock.now += int(refused.headers["retry-after"])
        assert embed(running).status_code == 200


def test_a_clock_that_jumps_fails_no_request(launch: Any, tiny_qwen3: Path, clock: SimpleNamespace) -> None:
    with launch(tiny_qwen3, access=AccessSettings(requests_per_minute=100, tokens_per_minute=1000)) as running:
        for jump in (0, 86400, -172800, 30):
            clock.now += jump
            assert embed(running).status_code == 200


def test_tokens_are_paid_for_after_the_answer_and_refused_when_used_up(
    launch: Any, tiny_qwen3: Path, clock: SimpleNamespace
) -> None:
    with launch(tiny_qwen3, access=AccessSettings(tokens_per_minute=1000)) as running:
        first = embed(running, texts="word " * 20)
        spent = first.json()["usage"]["total_tokens"]
        assert first.headers["x-ratelimit-limit-tokens"] == "1000"
        assert first.headers["x-ratelimit-remaining-tokens"] == str(1000 - spent)
        assert embed(running, texts=None).headers["x-ratelimit-remaining-tokens"] == str(1000 - spent)  # failed: free
        assert embed(running, texts="word " * 500).status_code == 200  # let in while any are left
        refused = embed(running)
    assert refused.status_code == 429
    assert refused.headers["x-ratelimit-remaining-tokens"] == "0"
    assert int(refused.headers["retry-after"]) > 0
    assert "tokens a minute" in refused.json()["error"]["message"]


def test_a_key_has_limits_of_its_own_and_spends_nobody_elses(
    launch: Any, tiny_qwen3: Path, keys_file: Path, clock: SimpleNamespace
) -> None:
    access = AccessSettings(api_keys_file=str(keys_file), requests_per_minute=1)
    with launch(tiny_qwen3, access=access) as running:
        for key, allowed in ((OTHER, 2), (SECRET, 1)):
            statuses = [embed(running, {"x-api-key": key}).status_code for _ in range(3)]
            assert statuses == [200] * allowed + [429] * (3 - allowed)


def test_a_forwarded_address_counts_only_when_the_proxy_is_trusted(
    launch: Any, tiny_qwen3: Path, clock: SimpleNamespace
) -> None:
    def statuses(running: Any) -> list[int]:
        addresses = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "no:address")
        return [embed(running, {"x-forwarded-for": address}).status_code for address in addresses]

    access = AccessSettings(requests_per_minute=1)
    with launch(tiny_qwen3, access=access) as running:
        assert statuses(running) == [200, 429, 429, 429, 429]
    trusting = ConnectionSettings(trusted_proxies="10.0.0.0/8, 127.0.0.1")
    with launch(tiny_qwen3, access=access, connection=trusting) as running:
        assert statuses(running) == [200, 200, 200, 429, 200]  # a network of 64 bits is one caller


def test_pages_of_other_origins_are_refused_unless_they_are_named(guarded: Any, launch: Any, tiny_qwen3: Path) -> None:
    asking = {"origin": "https://a.example", "access-control-request-method": "POST",
              "access-control-request-headers": "authorization"}  # fmt: skip
    assert "access-control-allow-origin" not in httpx.options(f"{guarded.url}/v1/embeddings", headers=asking).headers
    access = AccessSettings(api_key=SECRET, cors_origins="https://a.example, https://b.example")
    with launch(tiny_qwen3, access=access) as running:
        preflight = httpx.options(f"{running.url}/v1/embeddings", headers=asking)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://a.example"
        assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
        answer = embed(running, {"origin": "https://b.example", "x-api-key": SECRET})
        assert answer.headers["access-control-allow-origin"] == "https://b.example"
        assert "access-control-allow-origin" not in embed(running, {"origin": "https://c.example"}).headers


def test_requests_at_once_cannot_all_have_the_same_tokens(
    launch: Any, tiny_qwen3: Path, clock: SimpleNamespace
) -> None:
    texts = ["word " * 100] * 10
    with launch(tiny_qwen3, access=AccessSettings(tokens_per_minute=1000)) as running, ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: embed(running, texts=texts), range(30)))
        passed = [answer for answer in answers if answer.status_code == 200]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert len(passed) <= 2  # a second one, if the estimate of the first left a token
        spent = sum(answer.json()["usage"]["total_tokens"] for answer in passed)
        refused = embed(running)
        wait_s = int(refused.headers["retry-after"])
        assert wait_s >= (spent / 1000 - 1) * 60  # all of it is paid back
        clock.now += wait_s - 1
        assert embed(running).status_code == 429
        clock.now += 1
        assert embed(running).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": ["a"] * 40, "prompt": "word " * 50}),
        ("/v1/embeddings", {"input": ["a"] * 40, "instruction": "word " * 50}),
    ],
)
def test_words_before_each_text_are_reserved_for_each(
    launch: Any, tiny_qwen3: Path, clock: SimpleNamespace, path: str, body: dict[str, Any]
) -> None:
    with launch(tiny_qwen3, access=AccessSettings(tokens_per_minute=600)) as running, ThreadPoolExecutor(8) as pool:

        def ask(_: int) -> int:
            return httpx.post(running.url + path, json=body, timeout=60).status_code

        statuses = list(pool.map(ask, range(8)))  # each of about 100 bytes of tokens, and 2,000 tokens
    assert statuses.count(200) <= 2
    assert set(statuses) == {200, 429}


def test_an_estimate_that_was_too_high_is_given_back(launch: Any, tiny_qwen3: Path, clock: SimpleNamespace) -> None:
    with launch(tiny_qwen3, access=AccessSettings(tokens_per_minute=1000, requests_per_minute=10)) as running:
        answer = httpx.post(f"{running.url}/v1/embeddings", json={"input": "a", "user": "x" * 30_000}, timeout=60)
        assert answer.status_code == 200
        spent = answer.json()["usage"]["total_tokens"]
        assert answer.headers["x-ratelimit-remaining-tokens"] == str(1000 - spent)
        failed = httpx.post(f"{running.url}/v1/embeddings", json={"input": "", "user": "x" * 30_000}, timeout=60)
        assert failed.status_code == 400
        assert failed.headers["x-ratelimit-remaining-tokens"] == str(1000 - spent)
        body = json.dumps({"input": "word " * 100}).encode()
        chunked = httpx.post(f"{running.url}/v1/embeddings", content=iter([body[:9], body[9:]]), timeout=60)
        assert chunked.status_code == 200
        spent += chunked.json()["usage"]["total_tokens"]
        assert chunked.headers["x-ratelimit-remaining-tokens"] == str(1000 - spent)


def test_who_gives_up_pays_what_was_reserved(launch: Any, tiny_qwen3: Path, clock: SimpleNamespace) -> None:
    texts = [f"{number} " + "word " * 200 for number in range(200)]
    with launch(tiny_qwen3, access=AccessSettings(tokens_per_minute=1000)) as running:
        late = embed(running, {"x-request-timeout-ms": "20"}, texts)
        assert late.status_code == 504
        assert late.headers["x-ratelimit-remaining-tokens"] == "0"
        assert int(embed(running).headers["retry-after"]) > 30 * 60  # 50,000 tokens
    with launch(tiny_qwen3, access=AccessSettings(tokens_per_minute=1000)) as running:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{running.url}/v1/embeddings", json={"input": texts}, timeout=0.5)
        running.wait_until(lambda: embed(running).status_code == 429)
        assert int(embed(running).headers["retry-after"]) > 30 * 60


def test_texts_computed_before_one_fails_are_paid(launch: Any, tiny_qwen3: Path, clock: SimpleNamespace) -> None:
    texts = ["word"] * 600 + [""]
    with launch(tiny_qwen3, access=AccessSettings(tokens_per_minute=10_000)) as running:
        failed = embed(running, texts=texts)
        assert failed.status_code == 400
        assert int(failed.headers["x-ratelimit-remaining-tokens"]) < 9_500
        failed = embed(running, texts=["word", ""])
        assert failed.status_code == 400


def test_clients_of_the_ipv4_internet_have_limits_of_their_own(
    launch: Any, tiny_qwen3: Path, clock: SimpleNamespace
) -> None:
    trusting = ConnectionSettings(trusted_proxies="127.0.0.1")
    with launch(tiny_qwen3, access=AccessSettings(requests_per_minute=2), connection=trusting) as running:

        def statuses(address: str) -> list[int]:
            return [embed(running, {"x-forwarded-for": address}).status_code for _ in range(3)]

        assert statuses("::ffff:203.0.113.1") == [200, 200, 429]
        assert statuses("203.0.113.1") == [429] * 3
        assert statuses("::ffff:198.51.100.9") == [200, 200, 429]
        assert statuses("64:ff9b::198.51.100.10") == [200, 200, 429]
        assert statuses("198.51.100.10") == [429] * 3


def test_an_address_that_the_client_wrote_never_counts(launch: Any, tiny_qwen3: Path, clock: SimpleNamespace) -> None:
    access = AccessSettings(requests_per_minute=2)
    with launch(tiny_qwen3, access=access, connection=ConnectionSettings(trusted_proxies="*")) as running:
        forwarded = [f"10.9.{number}.1, 203.0.113.9" for number in range(4)]
        assert [embed(running, {"x-forwarded-for": one}).status_code for one in forwarded] == [200, 200, 429, 429]


def test_wrong_keys_are_counted_and_known_ones_still_answered(
    launch: Any, tiny_qwen3: Path, clock: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    access = AccessSettings(api_key=SECRET, wrong_keys_per_minute=3)
    with launch(tiny_qwen3, access=access) as running:
        answers = [embed(running, {"x-api-key": f"guess-{number}"}) for number in range(6)]
        assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 3
        assert 60 <= int(answers[-1].headers["retry-after"]) <= 120
        assert "does not know the API key" in answers[-1].json()["error"]["message"]
        assert embed(running, {"x-api-key": SECRET}).status_code == 200
        assert embed(running).status_code == 401  # no key is no guess
        assert caplog.text.count("unknown API keys came from 127.0.0.1") == 1
        assert "guess-" not in caplog.text
        clock.now += 180
        assert embed(running, {"x-api-key": "guess-again"}).status_code == 401


def test_short_keys_are_refused_or_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SettingsError, match="at least 8"):
        AccessSettings(api_key="x")
    read_keys(AccessSettings(api_key="hunter2hunter2"))
    assert "fewer than 16 characters" in caplog.text
    assert "hunter2" not in caplog.text
    caplog.clear()
    read_keys(AccessSettings(api_key=SECRET))
    assert not caplog.text
