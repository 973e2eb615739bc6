"""The supervisors of a search: one that leads it, and one on each further node of a job."""
