"""Loading a model onto a device, and running batches through it.

Imports only numpy, safetensors and tokenizers; torch for cards.
"""
