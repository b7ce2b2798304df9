"""Other projects' servers behind ours. A test needs the server's command on the PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farthing.upstream.engine_command import free_port

TEXTS = [f"{'word ' * (index % 9)}number {index}" for index in range(70)]


@pytest.mark.slow
def test_infinity_gives_the_vectors_that_we_compute(ask: Any, server: Any, starter_dir: Path, tmp_path: Path) -> None:
    command = shutil.which("infinity_emb")
    if command is None:
        pytest.skip("infinity_emb (pip install infinity-emb) is not on the PATH")
    port = free_port()
    flags = ["--model-id", starter_dir, "--served-model-name", "minilm", "--host", "127.0.0.1", "--port", str(port)]
    run = [
        command,
        "v2",
        *flags,
        "--device",
        "cpu",
        "--engine",
        "torch",
        "--dtype",
        "float32",
        "--no-bettertransformer",
    ]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
    with (tmp_path / "log").open("w") as log, subprocess.Popen(run, stdout=log, stderr=log, env=env) as process:
        try:
            with ask(f"http://127.0.0.1:{port}", upstream_start_s=120.0) as asked:
                result = asked(TEXTS)
                np.testing.assert_allclose(result.vectors, server.embedder.encode(TEXTS), atol=1e-5)
                assert result.num_tokens > len(TEXTS)
                with pytest.raises(Exception, match="refused") as refused:
                    asked([[1, 2, 3]])
                assert "refused" in str(refused.value)
        finally:
            process.terminate()
