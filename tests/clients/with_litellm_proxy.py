"""LiteLLM's proxy between OpenAI's client and the server."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import openai
from said import DOCUMENTS, QUERY, SENTENCES, say_ranking, say_vectors

KEY = "sk-" + secrets.token_hex(32)  # without one the proxy does not start
url = sys.argv[1]
with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
models = [
    {
        "model_name": "through",
        "litellm_params": {"model": "openai/minilm", "api_base": f"{url}/v1", "api_key": "unused"},
    },
    {
        "model_name": "judge",
        "litellm_params": {"model": "cohere/judge", "api_base": f"{url}/v2/rerank", "api_key": "unused"},
    },
]
with tempfile.TemporaryDirectory() as folder:
    config = Path(folder) / "config.yaml"  # of which JSON is a part
    config.write_text(json.dumps({"model_list": models, "litellm_settings": {"telemetry": False}}))
    command = [str(Path(sys.executable).with_name("litellm")), "--config", str(config), "--port", str(port)]
    environment = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "DO_NOT_TRACK": "1", "LITELLM_MASTER_KEY": KEY}
    with subprocess.Popen([*command, "--host", "127.0.0.1"], env=environment, stdout=sys.stderr) as proxy:
        try:
            base = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 120
            while True:
                try:
                    if httpx.get(f"{base}/health/liveliness").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                assert time.monotonic() < deadline, "the proxy did not start"
                assert proxy.poll() is None, "the proxy ended"
                time.sleep(0.5)
            with openai.OpenAI(base_url=base, api_key=KEY, max_retries=0) as client:
                data = client.embeddings.create(model="through", input=SENTENCES, user="u").data
                say_vectors("embeddings", [entry.embedding for entry in data])
            ask = {"model": "judge", "query": QUERY, "documents": DOCUMENTS}
            headers = {"Authorization": f"Bearer {KEY}"}
            found = (
                httpx.post(f"{base}/rerank", json=ask, headers=headers, timeout=60).raise_for_status().json()["results"]
            )
            say_ranking("rerank", [(entry["index"], entry["relevance_score"]) for entry in found])
        finally:
            proxy.terminate()
