"""A small method for the tests: fits a noisy quadratic, and misbehaves on request."""
