"""Everything that this project knows of SLURM."""
