"""Whoever keeps a search going, on each node of a job."""
