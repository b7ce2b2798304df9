"""Who may ask the server, and how much."""

from __future__ import annotations

from farthing.core.deferred import dataclass
from farthing.core.errors import SettingsError
from farthing.core.host_names import HostNames
from farthing.core.origins import Origins
from farthing.core.settings.field import Checked, option

STORAGE_SCHEMES = ("redis://", "rediss://", "redis+unix://")


@dataclass(frozen=True)
class AccessSettings(Checked):
    """Who may ask the server, and how much."""

    api_key: str | None = option(
        None,
        "A key that requests must send. Other users of the machine can read a command line: better put it into "
        "FARTHING_API_KEY or a file of keys.",
        secret=True,
    )
    api_keys_file: str | None = option(None, "TOML file of keys with names; read again on SIGHUP.")
    public_health: bool = option(True, "Answer /health without a key.")
    public_metrics: bool = option(True, "Answer /metrics without a key.")
    requests_per_minute: int | None = option(
        None, "Most requests a minute of one key, or of one address where there are no keys.", minimum=1
    )
    tokens_per_minute: int | None = option(None, "Most tokens a minute, as requests-per-minute.", minimum=1)
    rate_limit_storage: str = option(
        "memory", "Where rates are counted: memory, or redis://HOST:PORT for all servers that share it."
    )
    wrong_keys_per_minute: int = option(
        10,
        "Most unknown API keys a minute from one address; further ones are refused with 429, known ones are not.",
        minimum=1,
    )
    allowed_hosts: str | None = option(
        None,
        "Names by which the server may be called without a key, beside addresses, its host's own name and names of the "
        "local network: search.example.org, *.example.org, with commas, or * for any.",
    )
    cors_origins: str | None = option(
        None,
        "Web pages that may call the server: origins with commas, such as https://example.org, https://*.example.org, "
        "http://localhost:*, app://obsidian.md, null, or * for all.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.api_key is not None and not is_key(self.api_key):
            raise SettingsError(f"api_key must be {KEY_RULE}.", param="api_key")
        if self.rate_limit_storage != "memory" and not self.rate_limit_storage.startswith(STORAGE_SCHEMES):
            raise SettingsError(
                f"rate_limit_storage must be memory or an address that begins with {', '.join(STORAGE_SCHEMES)}.",
                param="rate_limit_storage",
            )
        self.hosts()
        self.origins()

    def hosts(self, *more: str) -> HostNames:
        """The names of `allowed_hosts`, and `more`. Raises `SettingsError`."""
        return HostNames([*split_list(self.allowed_hosts), *more], param="allowed_hosts")

    def origins(self) -> Origins:
        """The origins of `cors_origins`. Raises `SettingsError`."""
        return Origins(split_list(self.cors_origins), param="cors_origins")


MIN_KEY_CHARS = 8
KEY_RULE = f"at least {MIN_KEY_CHARS} printable ASCII characters without spaces"


def is_key(text: str) -> bool:
    """Whether a header can carry the key, and guessing it takes longer than anybody tries."""
    return len(text) >= MIN_KEY_CHARS and all("!" <= char <= "~" for char in text)


def split_list(text: str | None) -> list[str]:
    """The parts of a text between commas; empty ones are left out."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]
