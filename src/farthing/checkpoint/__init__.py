"""A checkpoint folder: reading its files tensor by tensor, writing new ones."""
