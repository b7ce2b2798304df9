"""Vectors that are kept, in this process and in a store that others share.

`embedder.CachedEmbedder` stands in front of a model; `vectors.VectorCache` holds the levels; `vectors.open_cache` makes
one from settings.
"""
