"""The study, of one driver or of several: which configuration is tried next, and what became of those tried before."""
