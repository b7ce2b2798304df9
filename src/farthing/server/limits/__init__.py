"""How much a caller may have: requests, tokens and memory."""
