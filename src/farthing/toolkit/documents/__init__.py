"""Documents: read from files and folders, and split into passages."""
