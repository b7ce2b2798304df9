from __future__ import annotations

import sys

from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from said import SENTENCES, say_vectors

model = OpenAILikeEmbedding(model_name="minilm", api_base=f"{sys.argv[1]}/v1", api_key="unused")
say_vectors("OpenAILikeEmbedding", model.get_text_embedding_batch(SENTENCES))
