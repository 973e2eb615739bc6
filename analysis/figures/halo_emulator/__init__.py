"""Figures of searches of halo_emulator; what they need of a model is in `trainables/halo_emulator/pictures.py`."""
