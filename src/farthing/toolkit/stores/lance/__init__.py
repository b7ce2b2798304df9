"""Keeps indexes in a folder, with LanceDB."""
