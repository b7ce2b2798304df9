from __future__ import annotations

import sys

from langchain_cohere import CohereEmbeddings, CohereRerank
from langchain_openai import OpenAIEmbeddings
from said import DOCUMENTS, QUERY, SENTENCES, say_ranking, say_vectors

url, token_ids = sys.argv[1], "--token-ids" in sys.argv
openai = OpenAIEmbeddings(model="minilm", base_url=f"{url}/v1", api_key="unused", check_embedding_ctx_length=token_ids)
say_vectors("OpenAIEmbeddings", openai.embed_documents(SENTENCES))
if not token_ids:
    cohere = CohereEmbeddings(model="minilm", base_url=url, cohere_api_key="unused")
    say_vectors("CohereEmbeddings", cohere.embed_documents(SENTENCES))
    reranker = CohereRerank(model="judge", base_url=url, cohere_api_key="unused", top_n=3)
    found = reranker.rerank(DOCUMENTS, QUERY)
    say_ranking("CohereRerank", [(entry["index"], entry["relevance_score"]) for entry in found])
