"""Weights: read, converted, quantised, and handed to the pass layer by layer."""
