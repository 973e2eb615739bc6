"""The wave driver's process: waves of trials on a Ray of its own."""
