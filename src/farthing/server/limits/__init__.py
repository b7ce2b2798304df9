"""Limits on the requests, tokens and memory that a caller may use."""
