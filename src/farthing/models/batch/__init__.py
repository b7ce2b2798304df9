"""The texts of a batch, end to end, with what they share there once."""
