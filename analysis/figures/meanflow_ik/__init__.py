"""Figures of searches of meanflow_ik; what they need of a model is in `trainables/meanflow_ik/pictures.py`."""
