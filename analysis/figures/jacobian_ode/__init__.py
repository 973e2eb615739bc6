"""Figures of searches of jacobian_ode; what they need of a model is in `trainables/jacobian_ode/pictures.py`."""
