"""Readers of each kind of file, which make documents of them."""
