"""How good an encoder's vectors are on labelled texts of one's own, and what they cost in memory and time."""
