"""Measures how good an encoder's vectors are on labelled texts of your own, and what they cost in memory and time."""
