"""Sensors: one pass over the machine gives one `records.MachineSample`.

machine     the pass: asks every sensor once and survives any of them
host        processors, memory, /dev/shm and disk, as the kernel counts them
cgroup      the memory limits of control groups, version 1 and 2
processes   the worker's process tree: processor time, resident memory
gpu, nvml   NVIDIA's cards: the thread that waits for the driver, and what it asks
logind      whether systemd ends a detached run at logout
procfs      reading and parsing small kernel files

Nothing here prints. NVIDIA's library may, on descriptor 2: run it where that is a log.
"""
