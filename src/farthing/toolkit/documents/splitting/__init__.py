"""Documents, split into passages."""
