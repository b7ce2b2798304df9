"""Another engine as a child process."""
