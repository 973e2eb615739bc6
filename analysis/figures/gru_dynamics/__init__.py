"""Figures of searches of gru_dynamics; what they need of a model is in `trainables/gru_dynamics/pictures.py`."""
