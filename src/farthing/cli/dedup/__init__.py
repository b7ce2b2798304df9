"""`farthing dedup`: finds the texts of a file that repeat others, and writes the file without them."""
