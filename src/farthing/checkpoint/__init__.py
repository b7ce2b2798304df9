"""A checkpoint folder: reading its files tensor by tensor, and writing new ones."""
