"""Indexes in a folder, with LanceDB."""
