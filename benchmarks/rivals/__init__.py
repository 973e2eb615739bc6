"""The same search by swell and by its rivals, each measured from outside: `python -m benchmarks.rivals`."""
