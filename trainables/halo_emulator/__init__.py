"""An emulator of profiles of cosmological haloes: a deep ensemble that returns mean and variance of each bin."""
