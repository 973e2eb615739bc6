"""SLURM: all that this project says to it and knows of it."""
