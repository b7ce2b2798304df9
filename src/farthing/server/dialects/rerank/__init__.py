"""APIs that score pairs of texts."""
