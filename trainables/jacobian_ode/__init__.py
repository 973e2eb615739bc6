"""The Jacobian of an unknown vector field, learnt from trajectories, with closed loops and teacher forcing."""
