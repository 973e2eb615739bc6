"""The processes that train: a trial's worker, and the environment that it is started in."""
