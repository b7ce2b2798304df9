"""Labelled sets: recognises what kind of set a folder of files is, and reads its texts and labels."""
