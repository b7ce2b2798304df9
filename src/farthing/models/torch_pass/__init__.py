"""The pass in torch: what cards run, and what the native kernels are compared with.

Nothing else in models needs torch.
"""
