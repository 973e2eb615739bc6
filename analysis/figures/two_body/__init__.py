"""Figures of searches of two_body; what they need of a model is in `trainables/two_body/pictures.py`."""
