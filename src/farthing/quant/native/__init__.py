"""Our own int8 kernels for CPUs: the binding, and one team of threads for the process."""
