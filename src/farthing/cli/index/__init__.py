"""`farthing index`: makes an index of documents, adds to it, looks after it.

The index itself is in `farthing.toolkit.index`; `farthing search` searches it.
"""
