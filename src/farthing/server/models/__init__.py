"""The served models: loaded, watched, chosen by name."""
