"""What is tried next, and what has become of what was: the study of one driver, or of several."""
