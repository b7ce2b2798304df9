"""The command line: a small file for each command, and nothing that a library user would need."""
