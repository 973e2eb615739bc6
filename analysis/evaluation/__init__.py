"""Applies kept models to test sets by name or from files, and keeps what came out beside the search."""
