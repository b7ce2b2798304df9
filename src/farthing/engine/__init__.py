"""Loading a model onto a device, and running batches through it. Imports only torch, numpy, safetensors, tokenizers."""
