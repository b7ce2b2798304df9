"""The forward pass: what a model's spec says, computed in torch or on the native kernels."""
