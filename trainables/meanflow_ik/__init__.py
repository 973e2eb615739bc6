"""Inverse kinematics in one step: a MeanFlow model of a robot's joint angles, given the pose of its flange."""
