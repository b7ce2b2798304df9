"""Labelled sets: what a folder of files is, and its texts and labels."""
