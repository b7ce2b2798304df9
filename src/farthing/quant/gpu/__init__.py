"""Products in torch, for NVIDIA cards: torch's own kernels, and three in Triton where it runs.

Of `farthing.quant`, only this package imports torch.
"""
