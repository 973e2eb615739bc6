"""The acceleration of orbits, learnt through an ODE that is solved along observed segments of them."""
