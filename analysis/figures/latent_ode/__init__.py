"""Figures of searches of latent_ode; what they need of a model is in `trainables/latent_ode/pictures.py`."""
