"""Other projects' embedding servers as processes of a test's own, with MiniLM, which it may kill and start again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import httpx
import pytest
from processes import wait_for
from safetensors.numpy import load_file

LLAMA_CPP = """
import signal, sys
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port = sys.argv[2], int(sys.argv[1])
params.embedding, params.n_parallel, params.n_ctx = True, 4, 4 * 512
params.n_batch = params.n_ubatch = 512
server = xllamacpp.Server(params)
signal.pause()
"""
TENSORS = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


class ForeignServer:
    """`command` starts it, given a port; `path` leads to its API."""

    def __init__(self, command: Callable[[int], list[str]], path: str, log: Path) -> None:
        self._command, self._log = command, log
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self._port: int = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}{path}"
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        quiet = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
        with self._log.open("ab") as log:
            command = self._command(self._port)
            self._popen = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | quiet)
        wait_for(self._answers, 120)

    def _answers(self) -> bool:
        assert self._popen is not None
        assert self._popen.poll() is None, self._log.read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}/health").is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """By SIGKILL."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()


@contextmanager
def infinity(folder: Path, scratch: Path) -> Iterator[ForeignServer]:
    """The command that FARTHING_TEST_INFINITY names."""
    program = os.environ.get("FARTHING_TEST_INFINITY")
    if not program:
        pytest.skip("set FARTHING_TEST_INFINITY to the command infinity_emb")
    flags = ("--engine", "torch", "--device", "cpu", "--no-bettertransformer", "--no-model-warmup")

    def command(port: int) -> list[str]:
        return [program, "v2", "--model-id", str(folder), "--served-model-name", "minilm", "--port", str(port), *flags]

    with started(ForeignServer(command, "", scratch / "infinity.log")) as server:
        yield server


@contextmanager
def llama_cpp(folder: Path, scratch: Path) -> Iterator[ForeignServer]:
    """llama.cpp's server as the package xllamacpp has it, in the Python that FARTHING_TEST_XLLAMACPP names."""
    python = os.environ.get("FARTHING_TEST_XLLAMACPP")
    if not python:
        pytest.skip("set FARTHING_TEST_XLLAMACPP to a Python that has the package xllamacpp")
    model = scratch / "minilm.gguf"
    write_gguf(folder, model)

    def command(port: int) -> list[str]:
        return [python, "-c", LLAMA_CPP, str(port), str(model)]

    with started(ForeignServer(command, "/v1", scratch / "llama_cpp.log")) as server:
        yield server


@contextmanager
def started(server: ForeignServer) -> Iterator[ForeignServer]:
    try:
        server.start()
        yield server
    finally:
        server.kill()


def write_gguf(folder: Path, file: Path) -> None:
    """A BERT checkpoint in float32, as llama.cpp's own conversion lays it out."""
    config = json.loads((folder / "config.json").read_text())
    words = list(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])
    special = {f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    writer = gguf.GGUFWriter(str(file), "bert")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([word if word in special else phantom(word) for word in words])
    writer.add_token_types([gguf.TokenType.CONTROL if word in special else gguf.TokenType.NORMAL for word in words])
    writer.add_bos_token_id(words.index("[CLS]"))
    writer.add_eos_token_id(words.index("[SEP]"))
    writer.add_sep_token_id(words.index("[SEP]"))
    writer.add_pad_token_id(words.index("[PAD]"))
    writer.add_unk_token_id(words.index("[UNK]"))
    writer.add_mask_token_id(words.index("[MASK]"))
    for name, values in load_file(folder / "model.safetensors").items():
        module, _, kind = name.rpartition(".")
        layer = ""
        if module.startswith("encoder.layer."):
            _, _, number, module = module.split(".", 3)
            layer = f"blk.{number}."
        if module in TENSORS:
            writer.add_tensor(f"{layer}{TENSORS[module]}.{kind}", values.astype("float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def phantom(word: str) -> str:
    """A WordPiece as llama.cpp writes it: marked at its start where a word begins, not where one goes on."""
    return word[2:] if word.startswith("##") else f"\u2581{word}"
