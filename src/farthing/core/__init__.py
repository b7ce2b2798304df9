"""What every layer may use: the error tree, settings, the vector space. Imports nothing of ours."""
