"""The memory model: a traced step (trace), its replay through the allocator, fits, verdicts."""
