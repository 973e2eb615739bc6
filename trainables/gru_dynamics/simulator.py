"""A double cart-pole, simulated with MuJoCo under smooth random controls; the only module that imports MuJoCo.

A cart of 1 kg on a rail, two poles of 1 m and 0.1 kg each, the second at the end of the first. All angles are 0 where
the poles hang; both point up at (pi, 0), as the second angle is relative to the first pole.
"""

import csv
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from trainables._shared.extras import require, required_version
from trainables.gru_dynamics.layout import TIME, Layout

STEP_S = 0.01
GEAR = 20.0
"""Force on the cart, in N, of a control of 1."""
MODEL = f"""
<mujoco model="double cart-pole">
  <option timestep="{STEP_S}"><flag contact="disable"/></option>
  <default>
    <geom type="capsule" size="0.045" mass="0.1" fromto="0 0 0 0 0 -1"/>
    <joint type="hinge" axis="0 -1 0" damping="1e-2"/>
  </default>
  <worldbody>
    <body name="cart" pos="0 0 2">
      <joint name="slider" type="slide" axis="1 0 0" limited="true" range="-3.8 3.8" damping="1e-4"/>
      <geom name="cart" type="box" fromto="-0.2 0 0 0.2 0 0" size="0.15" mass="1"/>
      <body name="pole">
        <joint name="hinge1"/>
        <geom name="pole"/>
        <body name="second pole" pos="0 0 -1">
          <joint name="hinge2"/>
          <geom name="second pole"/>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator><motor joint="slider" gear="{GEAR:g}" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>
"""
LAYOUT = Layout(coordinates=(0,), angles=(1, 2), velocities=(0, 1, 2), controls=(0,))
"""Of its states and actions; that of a config without other columns."""
NUM_WAVES = 4
SLOWEST_HZ, FASTEST_HZ = 0.5, 3.0
"""Frequencies of the sines that make a control."""
MASS = 1.2
UPRIGHT_SHARE = 0.5
"""Of the trajectories that start near the upright equilibrium, where a controller needs the model."""
_GENERATOR_VERSION = 1

Trajectories = dict[str, np.ndarray]
"""`qpos` (n, samples, 3), `qvel` (n, samples, 3) and `ctrl` (n, samples, 1), that applied from a row to the next."""


def recipe(num: int, samples: int, stream: str) -> str:
    """Return what makes other trajectories if it changes, for the cache; raises MissingPackageError without MuJoCo."""
    return f"{_GENERATOR_VERSION} mujoco {required_version('mujoco')} {num} {samples} {stream}"


def smooth_controls(rng: np.random.Generator, samples: int) -> tuple[Float64[np.ndarray, " samples"], float]:
    """Return a control that is a sum of four sines, its largest value uniform in [0.2, 1], and the cart's start.

    With the start, a velocity in m/s, the velocity that the force alone gives the cart has no mean: it stays on the
    rail most of the time.
    """
    rate = 2 * np.pi * rng.uniform(SLOWEST_HZ, FASTEST_HZ, NUM_WAVES)
    amplitude, phase = rng.uniform(0.2, 1.0, NUM_WAVES), rng.uniform(0, 2 * np.pi, NUM_WAVES)
    t = STEP_S * np.arange(samples)
    waves = amplitude[:, None] * np.sin(rate[:, None] * t + phase[:, None])
    factor = rng.uniform(0.2, 1.0) / np.abs(waves.sum(0)).max()
    start = -GEAR / MASS * factor * float((amplitude / rate * np.cos(phase)).sum())
    return factor * waves.sum(0), start


def simulate(num: int, samples: int, stream: str) -> Trajectories:
    """Return `num` trajectories of as many rows each, 0.01 s apart; each stream has random numbers of its own.

    Half of them start near the upright equilibrium, the others with any angles. Raises MissingPackageError without
    MuJoCo.
    """
    mujoco: Any = require("mujoco")
    model = mujoco.MjModel.from_xml_string(MODEL)
    data = mujoco.MjData(model)
    digest = hashlib.sha256(f"gru_dynamics double_cart_pole {stream}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
    found = {name: np.empty((num, samples, size)) for name, size in (("qpos", 3), ("qvel", 3), ("ctrl", 1))}
    for k in range(num):
        control, speed = smooth_controls(rng, samples)
        near = rng.random() < UPRIGHT_SHARE
        angles, rates = rng.uniform(-np.pi, np.pi, 2), rng.normal(0.0, 1.0, 2)
        upright = np.array([np.pi, 0.0]) + 0.1 * angles
        mujoco.mj_resetData(model, data)
        data.qpos[:] = rng.uniform(-1, 1), *(upright if near else angles)
        data.qvel[:] = speed, *((0.3 if near else 1.0) * rates)
        for row in range(samples):
            data.ctrl[:] = control[row]
            for name, array in found.items():
                array[k, row] = getattr(data, name)
            mujoco.mj_step(model, data)
    return found


def write_csv(folder: Path, trajectories: Mapping[str, np.ndarray]) -> None:
    """Write trajectories as the CSV files that `folders` reads, one each, into a folder that is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [TIME, *(f"{kind}_{i}" for kind in ("qpos", "qvel", "ctrl") for i in range(trajectories[kind].shape[-1]))]
    for k in range(len(trajectories["qpos"])):
        rows = np.concatenate([trajectories[kind][k] for kind in ("qpos", "qvel", "ctrl")], axis=1)
        with (folder / f"trajectory_{k:04d}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            writer.writerows([f"{STEP_S * row:.2f}", *map(repr, values)] for row, values in enumerate(rows.tolist()))
