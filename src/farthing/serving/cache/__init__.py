"""Vectors that are kept, in this process and in a store that others share.

`embedder.CachedEmbedder` stands before a model; `vectors.VectorCache` has the levels; `opened.open_cache` makes one
from settings.
"""
