"""Finds texts of a set that repeat others: by the same text, or by nearly the same meaning."""
