"""Farthing's own API for indexes of documents."""
