"""Clusters of a set of texts: by density of their vectors, named by their words, drawn as a map."""
