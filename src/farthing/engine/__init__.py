"""A model made ready on a device, and batches run through it. Imports only torch, numpy, safetensors, tokenizers."""
