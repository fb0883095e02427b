"""batchtui: launch a PyTorch training, watch it, and choose the batch size to run next."""

__version__ = "0.1.0"
