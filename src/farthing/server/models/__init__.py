"""The served models: how they are loaded, watched, and chosen by name."""
