"""Tests of the sensors: on trees of files, on real processes, and on a stand-in for NVML."""
