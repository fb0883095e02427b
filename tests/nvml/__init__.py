"""A stand-in for NVIDIA's library, in C, that the real pynvml loads: see README.md."""
