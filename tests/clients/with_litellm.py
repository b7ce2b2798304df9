from __future__ import annotations

import sys

import litellm
from said import DOCUMENTS, QUERY, SENTENCES, say_ranking, say_vectors

url = sys.argv[1]
WAYS = {
    "openai/minilm": {"api_base": f"{url}/v1"},
    "openai_like/minilm": {"api_base": f"{url}/v1"},
    "hosted_vllm/minilm": {"api_base": f"{url}/v1"},
    "lm_studio/minilm": {"api_base": f"{url}/v1"},
    "xinference/minilm": {"api_base": f"{url}/v1"},
    "infinity/minilm": {"api_base": url},
    "jina_ai/minilm": {"api_base": f"{url}/v1"},
    "voyage/minilm": {"api_base": f"{url}/v1/embeddings"},
    "nvidia_nim/minilm": {"api_base": f"{url}/v1", "input_type": "passage"},
    "ollama/minilm": {"api_base": url},
    "cohere/minilm": {"api_base": f"{url}/v2/embed"},
}
for model, options in WAYS.items():
    data = litellm.embedding(model=model, input=SENTENCES, api_key="unused", **options).data
    say_vectors(model, [entry["embedding"] for entry in data])
more = {
    "metadata": {"a": 1},
    "timeout": 60,
    "user": "u",
    "extra_body": {"drop_params": True, "proxy_server_request": {}},
}
data = litellm.embedding(model="openai/minilm", input=SENTENCES, api_key="unused", api_base=f"{url}/v1", **more).data
say_vectors("openai/minilm with more", [entry["embedding"] for entry in data])
# Without the documents: LiteLLM takes those of Infinity for texts, and those of all others for objects with a text.
for model, base in {
    "cohere/judge": f"{url}/v2/rerank",
    "jina_ai/judge": f"{url}/v1/rerank",
    "infinity/judge": url,
    "hosted_vllm/judge": url,
}.items():
    options = {"return_documents": not model.startswith("infinity/"), "api_key": "unused", "api_base": base}
    found = litellm.rerank(model=model, query=QUERY, documents=DOCUMENTS, **options).results
    say_ranking(model, [(entry["index"], entry["relevance_score"]) for entry in found])
