"""Folders of quantised weights: how they are written, and measured against the exact model."""
