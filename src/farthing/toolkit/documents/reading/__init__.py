"""Files of each kind, read as documents."""
