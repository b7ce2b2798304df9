"""Reads files of texts: records of txt, JSON Lines, CSV and Parquet, with the place of whatever is wrong in them."""
