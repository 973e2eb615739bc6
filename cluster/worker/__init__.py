"""The processes that train: what a trial's worker does, and the environment that it is started in."""
