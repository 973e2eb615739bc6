"""Ripple as a method that is a single file, which brings JAX along when only its config is asked for."""

from tests.methods.ripple.method import Config, method

__all__ = ["Config", "method"]
