"""Holds a double cart-pole up in MuJoCo, sampling with a learnt model; START is a seed of leans of up to 0.05 rad."""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from trainables._shared.extras import MissingPackageError, require
from trainables._shared.model_file import CheckpointError
from trainables.gru_dynamics.controller import followed, load_dynamics
from trainables.gru_dynamics.simulator import LAYOUT, MODEL

HORIZON, KNOTS, SAMPLES, WIDTHS = 50, 6, 128, (0.4, 0.15, 0.05)
parser = argparse.ArgumentParser(description=__doc__)
for name, kind, default in (("model", Path, None), ("seconds", float, 3.0), ("start", int, None)):
    parser.add_argument(name, type=kind, nargs=None if name == "model" else "?", default=default)
given = parser.parse_args()
try:
    mujoco, learnt = require("mujoco"), load_dynamics(given.model)
except (CheckpointError, MissingPackageError) as error:
    parser.error(str(error))
if learnt.layout != LAYOUT or not 0 < given.seconds < np.inf or (given.start or 0) < 0:
    parser.error("a model of the double cart-pole is wanted, seconds above 0, and a start of 0 or more")
system = mujoco.MjModel.from_xml_string(MODEL)
data = mujoco.MjData(system)
leans = (-0.05, 0.0) if given.start is None else np.random.default_rng(given.start).uniform(-0.05, 0.05, 2)
data.qpos[:] = 0.0, np.pi + leans[0], leans[1] - leans[0]  # both poles nearly up
knot, line = jnp.arange(KNOTS), jnp.linspace(0, KNOTS - 1, HORIZON)


def cost(x):  # x: cart, cos and sin of both angles, three velocities; poles that lean back bring the cart back
    lean = -0.04 * jnp.clip(x[0] + 1.5 * x[5], -3, 3)
    off = (x[2] - lean) ** 2 + (x[2] * x[3] + x[1] * x[4] - lean) ** 2
    return 25 * off + 0.1 * x[0] ** 2 + 0.02 * x[5] ** 2 + 0.05 * (x[6] ** 2 + x[7] ** 2)


def run(history, knots):
    def step(history, action):
        state = learnt.step(history, action[None])
        return followed(history, action[None], state), cost(state)

    costs = jax.lax.scan(step, history, jnp.interp(line, knot, knots))[1]
    return costs.sum() + 20 * costs[-1]


@jax.jit
def plan(history, knots, key):
    knots = jnp.interp(knot + line[1], knot, knots)  # the last plan, a step later
    for width, part in zip(WIDTHS, jax.random.split(key, len(WIDTHS)), strict=True):
        tried = jnp.clip(knots + width * jax.random.normal(part, (SAMPLES, KNOTS)).at[0].set(0), -1, 1)
        costs = jax.vmap(run, in_axes=(None, 0))(history, tried)
        knots = jax.nn.softmax(-(costs - costs.min()) / (0.1 * costs.std() + 1e-6)) @ tried
    return knots


knots, history = jnp.zeros(KNOTS), learnt.begin(learnt.layout.state_of(data.qpos, data.qvel))
for k in range(max(1, round(given.seconds / learnt.dt))):
    knots = plan(history, knots, jax.random.key(k))
    data.ctrl[:] = np.asarray(knots[:1])
    mujoco.mj_step(system, data)
    observed = jnp.asarray(learnt.layout.state_of(data.qpos, data.qvel), jnp.float32)
    history = followed(history, knots[:1], observed)
    if np.cos(data.qpos[1]) > -0.8 or np.cos(data.qpos[1] + data.qpos[2]) > -0.8:
        break
print(f"held both poles up for {(k + 1) * learnt.dt:.2f} s; cart at {data.qpos[0]:.2f} m")
