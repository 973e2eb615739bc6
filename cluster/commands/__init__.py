"""One module for each command of `swell`, and what only it needs."""
