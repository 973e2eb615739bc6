"""Waves of trials on Ray: the driver, its workers, and whoever watches them."""
