"""Texts on their way to a model's tokens: cleaned, prompted, paired, tokenised, measured."""
