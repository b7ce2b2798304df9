"""Synthetic checkpoints: the shape of a published model with seeded random weights."""
