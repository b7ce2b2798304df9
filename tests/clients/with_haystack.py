from __future__ import annotations

import sys

from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.utils import Secret
from haystack_integrations.components.embedders.cohere import CohereTextEmbedder
from haystack_integrations.components.rankers.cohere import CohereRanker
from said import DOCUMENTS, QUERY, SENTENCES, say_ranking, say_vectors

url, key = sys.argv[1], Secret.from_token("unused")
one = OpenAITextEmbedder(model="minilm", api_base_url=f"{url}/v1", api_key=key)
say_vectors("OpenAITextEmbedder", [one.run(text)["embedding"] for text in SENTENCES])
many = OpenAIDocumentEmbedder(model="minilm", api_base_url=f"{url}/v1", api_key=key, progress_bar=False)
found = many.run([Document(content=text) for text in SENTENCES])["documents"]
say_vectors("OpenAIDocumentEmbedder", [document.embedding for document in found])
cohere = CohereTextEmbedder(model="minilm", api_base_url=url, api_key=key)
say_vectors("CohereTextEmbedder", [cohere.run(text)["embedding"] for text in SENTENCES])
ranker = CohereRanker(model="judge", api_base_url=url, api_key=key)
ranked = ranker.run(QUERY, [Document(content=text) for text in DOCUMENTS])["documents"]
say_ranking("CohereRanker", [(document.content, document.score) for document in ranked])
