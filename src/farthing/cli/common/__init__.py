"""Code that several commands share: options, messages, the terminal."""
