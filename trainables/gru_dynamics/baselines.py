"""What a sceptic would try first: persistence, constant velocity, and a linear model (NumPy, on the host)."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from trainables.gru_dynamics.layout import Layout

RIDGES = (1e-9, 1e-7, 1e-6, 2e-6, 3e-6, 5e-6, 7e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2)
"""Of the largest singular value of the linear model's features: how strongly its fit may be damped."""
FARTHEST = 10.0
"""A linear model's free run is kept within so many of the largest known value: one that explodes is not worse yet."""

States = Float[np.ndarray, "runs states"]


class LinearModel(NamedTuple):
    """A linear map from past states and actions to the next change of state."""

    weight: Float64[np.ndarray, "moves features"]
    offset: Float64[np.ndarray, " moves"]


def features(
    layout: Layout, states: Float[np.ndarray, "n history states"], controls: Float[np.ndarray, "n history controls"]
) -> Float64[np.ndarray, "n features"]:
    """Return states and actions of a history in one row, coordinates relative to the first of them."""
    states = np.array(states, np.float64)
    num = len(layout.coordinates)
    states[..., :num] -= states[:, :1, :num].copy()
    return np.concatenate([states, controls], axis=2).reshape(len(states), -1)


class Windows(NamedTuple):
    """What a linear model is fitted to: histories of states and actions, and the changes that followed."""

    states: Float64[np.ndarray, "n history states"]
    controls: Float64[np.ndarray, "n history controls"]
    moves: Float64[np.ndarray, "n moves"]
    is_whole: Bool[np.ndarray, " n"]
    """Whether all rows of the history are known: none is the first state repeated."""


class Fit(NamedTuple):
    """A linear model, and how it was fitted."""

    ridge: float
    to_whole: bool
    """Whether only to histories that are known whole."""
    model: LinearModel


def fits(layout: Layout, windows: Windows) -> Iterator[Fit]:
    """Yield the linear models of least squares with each of the RIDGES, to all windows and to those known whole.

    Undamped, a fit to many rows that hardly differ predicts one step well, and explodes in a free run.
    """
    whole = windows.is_whole
    for part in [windows] + ([Windows(*(x[whole] for x in windows))] if whole.any() and not whole.all() else []):
        x, moves = features(layout, part.states, part.controls), part.moves
        center, scale = x.mean(0), x.std(0)
        scale = np.where(scale > 0, scale, 1.0)
        u, singular, v = np.linalg.svd((x - center) / scale, full_matrices=False)
        projected = u.T @ (moves - moves.mean(0))
        for ridge in RIDGES:
            damping = (ridge * max(singular[0], 1e-300)) ** 2
            weight = (v.T @ ((singular / (singular**2 + damping))[:, None] * projected)).T / scale
            yield Fit(ridge, part is not windows, LinearModel(weight, moves.mean(0) - weight @ center))


def moved(
    layout: Layout, states: Float[np.ndarray, "n states"], moves: Float[np.ndarray, "n moves"]
) -> Float64[np.ndarray, "n states"]:
    """Return states after changes: coordinates and velocities by addition, angles by rotation."""
    found = np.array(states, np.float64)
    num, end = len(layout.coordinates), len(layout.coordinates) + 2 * len(layout.angles)
    found[:, :num] += moves[:, :num]
    found[:, end:] += moves[:, num + len(layout.angles) :]
    angle = moves[:, num : num + len(layout.angles)]
    c, s = found[:, num:end:2].copy(), found[:, num + 1 : end : 2].copy()
    found[:, num:end:2] = c * np.cos(angle) - s * np.sin(angle)
    found[:, num + 1 : end : 2] = s * np.cos(angle) + c * np.sin(angle)
    return found


def persistence(last: States, num_steps: int) -> Float64[np.ndarray, "runs steps states"]:
    """Return the last state at every step."""
    return np.repeat(np.asarray(last, np.float64)[:, None], num_steps, axis=1)


def constant_velocity(
    layout: Layout, last: States, dt: float, num_steps: int
) -> Float64[np.ndarray, "runs steps states"]:
    """Return positions that go on at their last rates; a position without a rate stays, and so do velocities."""
    end = len(layout.coordinates) + 2 * len(layout.angles)
    move = np.zeros((len(last), layout.num_moves))
    for k, rate in enumerate(layout.rates):
        if rate >= 0:
            move[:, k] = dt * last[:, end + rate]
    return np.stack([moved(layout, last, (k + 1) * move) for k in range(num_steps)], axis=1)


def linear(
    layout: Layout,
    model: LinearModel,
    states: Float[np.ndarray, "runs history states"],
    controls: Float[np.ndarray, "runs earlier controls"],
    actions: Float[np.ndarray, "runs steps controls"],
) -> Float64[np.ndarray, "runs steps states"]:
    """Return the free runs of a linear model: each predicted state becomes the last of its history."""
    states, controls = np.asarray(states, np.float64), np.asarray(controls, np.float64)
    bound = FARTHEST * np.abs(states).max((0, 1))
    found = []
    for k in range(actions.shape[1]):
        controls = np.concatenate([controls, actions[:, k : k + 1]], axis=1)
        move = features(layout, states, controls) @ model.weight.T + model.offset
        following = np.clip(moved(layout, states[:, -1], move), -bound, bound)
        states = np.concatenate([states[:, 1:], following[:, None]], axis=1)
        controls = controls[:, 1:]
        found.append(following)
    return np.stack(found, axis=1)
