"""Servers elsewhere that compute in this one's stead: many behind one backend, watched, chosen between, asked again."""
