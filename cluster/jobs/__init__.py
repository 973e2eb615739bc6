"""SLURM: sites, what is asked of them, and where a search stands in the queue."""
