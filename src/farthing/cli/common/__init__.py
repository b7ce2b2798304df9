"""What several commands share: options, messages, the terminal."""
