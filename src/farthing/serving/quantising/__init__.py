"""Folders of quantised weights: written, and measured against the exact model."""
