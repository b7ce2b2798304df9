"""The plan: what the machine has, what a model takes, and the run mode that fits."""
