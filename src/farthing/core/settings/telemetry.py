"""What the server tells about itself: logs and traces. How much is logged is `log_level` of the server's settings."""

from __future__ import annotations

from farthing.core.deferred import dataclass
from farthing.core.settings.field import Checked, check_http_url, option


@dataclass(frozen=True)
class TelemetrySettings(Checked):
    """Logs and traces."""

    log_format: str = option(
        "text", "Lines for people (text), or one JSON object a line (json).", choices=("text", "json")
    )
    access_log: bool = option(True, "Log a line for every request.")
    log_texts: bool = option(
        False, "Log the first 1,000 characters of every text that is sent. They are users' data: for debugging only."
    )
    otlp_endpoint: str | None = option(
        None,
        "Where traces go: base URL of an OpenTelemetry collector that takes OTLP over HTTP, such as "
        "http://localhost:4318. Needs the extra otel.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.otlp_endpoint is not None:
            check_http_url("otlp_endpoint", self.otlp_endpoint, "http://localhost:4318")
