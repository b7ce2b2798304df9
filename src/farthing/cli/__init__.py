"""The command line: one small file a command, and nothing that a library user would need."""
