"""Finds what repeats something else in a set of texts: the same text, or nearly the same meaning."""
