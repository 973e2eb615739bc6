"""The wave driver's process: runs waves of trials on a Ray of its own."""
