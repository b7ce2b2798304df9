"""Tools that work with vectors, on an `Encoder`: a model in this process, or any server with OpenAI's embeddings API.

Nothing here knows the engine, its formats or its memory.
"""
