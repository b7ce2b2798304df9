"""The engines that `benchmarks/cpu_peers.py` compares, each in a process of its own."""
