"""`farthing dedup`: what in a file of texts repeats something else, and the file without it."""
