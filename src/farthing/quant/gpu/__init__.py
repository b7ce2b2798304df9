"""Products with quantised weights on NVIDIA cards: torch's own kernels, and three in Triton where it runs."""
