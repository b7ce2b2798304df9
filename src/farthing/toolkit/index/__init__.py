"""An index of documents that is searched by meaning, by words, or by both."""
