"""`farthing index`: make an index of documents, add to it, look after it.

What an index is, is in `farthing.toolkit.index`; `farthing search` asks it questions.
"""
