"""The worker: its loop, data, checkpoints and its death."""
