"""Joint angles and the poses that they reach, to train, validate and test on; NumPy only."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from trainables._shared.datasets import DatasetStore
from trainables.meanflow_ik.config import Config
from trainables.meanflow_ik.files import Samples, read_file
from trainables.meanflow_ik.kinematics import forward_kinematics
from trainables.meanflow_ik.metric_names import NUM_POLISHED, NUM_SOLUTIONS
from trainables.meanflow_ik.robots import ROBOTS, LimitsName, joint_limits

NUM_NEAREST = 10_000
"""Training examples among which the nearest pose is looked for, as a baseline."""
METRES_PER_RADIAN = 0.3
"""How far a rotation counts as a distance, where poses are compared."""

_GENERATOR_VERSION = 1
_CHUNK = 64


class Limits(NamedTuple):
    """Joint limits in radians."""

    low: Float32[np.ndarray, " joints"]
    high: Float32[np.ndarray, " joints"]


class Targets(NamedTuple):
    """Poses to be reached, and the joint limits to be kept."""

    position: Float32[np.ndarray, "n 3"]
    rotation: Float32[np.ndarray, "n 3 3"]
    noise: Float32[np.ndarray, "n solutions joints"]
    """What solutions are made from: the same for every model."""
    limits: Limits


class Test(NamedTuple):
    """Poses to test on, and joint angles that baselines have for them."""

    targets: Targets
    nearest: Float32[np.ndarray, "n joints"]
    """Of the training example whose pose is nearest."""
    random: Float32[np.ndarray, "n polished joints"]
    """Uniform in the limits."""


Test.__test__ = False  # pyright: ignore[reportAttributeAccessIssue]  # not a test case, whatever pytest thinks


def limits_of(config: Config) -> Limits:
    """Return the joint limits of a config."""
    low, high = joint_limits(config.robot, config.limits)
    return Limits(np.array(low, np.float32), np.array(high, np.float32))


def _limits_name(config: Config) -> LimitsName:
    """Return the name of a config's limits, of those that are the same for its robot the first one."""
    as_published = joint_limits(config.robot, config.limits) == joint_limits(config.robot, "published")
    return "published" if as_published else config.limits


def generate(config: Config, split: str, num: int, seed: int) -> dict[str, np.ndarray]:
    """Return `q` (num, joints) uniform in the limits, `position` (num, 3) and `rotation` (num, 3, 3) of the flange.

    Each split and seed has its own stream of random numbers.
    """
    stream = hashlib.sha256(f"meanflow_ik {config.robot} {_limits_name(config)} {split} {seed}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(stream, np.uint32))
    low, high = joint_limits(config.robot, config.limits)
    q = rng.uniform(low, high, size=(num, len(low)))
    pose = forward_kinematics(ROBOTS[config.robot], q)
    return {"q": q, "position": pose.position, "rotation": pose.rotation}


def load(config: Config, split: str, store: DatasetStore) -> Samples:
    """Return the samples of a split, train, val or test: of the file, or generated and cached."""
    num = {"train": config.num_samples, "val": config.num_validation, "test": config.num_test}[split]
    if config.file is not None:
        samples = read_file(Path(config.file), config.robot, config.limits, split)
        return samples if split == "train" else Samples(*(array[:num] for array in samples))
    if split == "train" and config.dataset == "on_the_fly":
        num = NUM_NEAREST  # for the baseline alone
    seed = config.data_seed if split == "train" and config.dataset == "generated" else 0
    recipe = json.dumps([_GENERATOR_VERSION, _limits_name(config), num, seed])
    name = f"meanflow_ik_{config.robot}_{split}"
    return Samples(**store.get(name, recipe, lambda: generate(config, split, num, seed)))


def training_arrays(config: Config, samples: Samples) -> dict[str, Any]:
    """Return what a batch is drawn from: the limits, and the examples unless each step makes its own."""
    limits = {"limits": limits_of(config)}
    return limits if config.dataset == "on_the_fly" else limits | {"samples": _float32(samples)}


def targets(config: Config, position: np.ndarray, rotation: np.ndarray, num_solutions: int) -> Targets:
    """Return poses (n) that are to be reached within the limits of a config, with noise for so many solutions each."""
    limits = limits_of(config)
    noise = np.random.default_rng(0).normal(size=(len(position), num_solutions, len(limits.low)))
    return Targets(position.astype(np.float32), rotation.astype(np.float32), noise.astype(np.float32), limits)


def held_out_test(config: Config, known: Samples, position: np.ndarray, rotation: np.ndarray) -> Test:
    """Return a test set of poses (n), for whose baseline `known` samples are searched."""
    found = targets(config, position, rotation, NUM_SOLUTIONS)
    size = (len(position), NUM_POLISHED, len(found.limits.low))
    random = np.random.default_rng(1).uniform(*found.limits, size=size).astype(np.float32)
    return Test(found, nearest(known, position, rotation), random)


def nearest(known: Samples, position: np.ndarray, rotation: np.ndarray) -> Float32[np.ndarray, "n joints"]:
    """Return for each pose the joint angles of the known sample, of the first 10 000, whose pose is nearest."""
    known = Samples(*(np.asarray(array[:NUM_NEAREST]) for array in known))
    found = []
    for start in range(0, len(position), _CHUNK):
        part = slice(start, start + _CHUNK)
        # |a - b|^2 = |a|^2 + |b|^2 - 2 a.b, of which |a|^2 and of rotations |b|^2 are the same for all. The squared
        # distance of rotations as 9 numbers, 8 sin^2(angle / 2), ranks as the angle does and is twice its square.
        gap = (known.position**2).sum(-1) - 2 * position[part] @ known.position.T
        turned = -rotation[part].reshape(-1, 9) @ known.rotation.reshape(-1, 9).T
        found.append((gap + METRES_PER_RADIAN**2 * turned).argmin(1))
    return known.q[np.concatenate(found)].astype(np.float32)


def _float32(samples: Samples) -> Samples:
    return Samples(*(np.asarray(array, np.float32) for array in samples))
