"""Weights & Biases, in processes of its own."""
