"""Clusters of a set of texts: found by the density of their vectors, named by their words, and drawn as a map."""
