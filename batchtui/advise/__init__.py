"""What the numbers of a run say about its batch size; pure functions, no input or output."""
