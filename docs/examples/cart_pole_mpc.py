"""Holds a double cart-pole up in MuJoCo, sampling with a learnt model: cart_pole_mpc.py MODEL [SECONDS [START]]."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from trainables._shared.saved import load_model
from trainables.gru_dynamics.controller import dynamics, followed
from trainables.gru_dynamics.simulator import MODEL

HORIZON, KNOTS, SAMPLES, WIDTHS = 50, 6, 128, (0.4, 0.15, 0.05)
learnt = dynamics(load_model(Path(sys.argv[1])))
system = mujoco.MjModel.from_xml_string(MODEL)
data = mujoco.MjData(system)
leans = np.random.default_rng(int(sys.argv[3])).uniform(-0.05, 0.05, 2) if sys.argv[3:] else (-0.05, 0.0)
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
for k in range(round(float((sys.argv[2:] or [3])[0]) / learnt.dt)):
    knots = plan(history, knots, jax.random.key(k))
    data.ctrl[:] = np.asarray(knots[:1])
    mujoco.mj_step(system, data)
    observed = jnp.asarray(learnt.layout.state_of(data.qpos, data.qvel), jnp.float32)
    history = followed(history, knots[:1], observed)
    if np.cos(data.qpos[1]) > -0.8 or np.cos(data.qpos[1] + data.qpos[2]) > -0.8:
        break
print(f"held both poles up for {(k + 1) * learnt.dt:.2f} s; cart at {data.qpos[0]:.2f} m")
