"""MeanFlow inverse kinematics: what the shared training loop needs of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from trainables._shared.config import reason
from trainables._shared.contract import Hyper, Loss, Method, Phase, TestResult, TrialData, UnknownTestSetError
from trainables._shared.datasets import DatasetStore
from trainables.meanflow_ik import losses
from trainables.meanflow_ik.config import NUM_VALIDATION_SOLUTIONS, Config
from trainables.meanflow_ik.coordinates import Scaling, Seen, from_latent, seen_from_its_azimuth, to_latent
from trainables.meanflow_ik.data import Limits, Targets, held_out_test, load, targets, training_arrays
from trainables.meanflow_ik.files import Samples
from trainables.meanflow_ik.kinematics import Pose, forward_kinematics, pose_errors
from trainables.meanflow_ik.metric_names import NUM_POLISHED, SUCCESS_DEG, SUCCESS_MM
from trainables.meanflow_ik.metrics import pose_table, score_metrics
from trainables.meanflow_ik.model import Model, averaged, condition
from trainables.meanflow_ik.polish import polish
from trainables.meanflow_ik.poses import read_poses
from trainables.meanflow_ik.robots import ROBOTS
from trainables.meanflow_ik.sampling import sample

Joints = Float[Array, "n solutions joints"]


class MeanFlowIK(Method[Config]):
    """A generative model of the joint angles that reach a pose, sampled in one step (Geng et al. 2025)."""

    config_type = Config

    def smoke(self) -> Config:
        """Return a small model of the Panda, without much of a warm-up."""
        return Config(
            width=32, blocks=1, batch_size=64, steps=60, report_every=20, warmup_steps=5, learning_rate=3e-3,
            ema_decay=0.9, num_validation=32, num_test=8, test_steps=(1, 2),
        )  # fmt: skip

    def phases(self, config: Config) -> Sequence[Phase]:
        """Return the only phase."""
        return [Phase(config.steps, config.learning_rate)]

    def data(self, config: Config, store: DatasetStore) -> TrialData:
        """Return training examples, or the limits in which each step draws its own, and poses to be reached."""
        config.check_data()
        training, validation, test = (load(config, split, store) for split in ("train", "val", "test"))
        tests = {f"{config.robot}_test": held_out_test(config, training, *test[1:])}
        held_out = targets(config, validation.position, validation.rotation, NUM_VALIDATION_SOLUTIONS)
        return TrialData([training_arrays(config, training)], held_out, tests)

    def test_set(self, config: Config, store: DatasetStore, name: str) -> PyTree[np.ndarray]:
        """Return a test set: by its name, from an npz file as `file` describes it, or poses from a CSV file."""
        own = self.trial_data(config, store).tests
        if name in own:
            return own[name]
        path, task = Path(name), config.task()
        training = load(config, "train", store)
        try:
            if path.suffix.lower() == ".csv":
                return held_out_test(task, training, *read_poses(path))
            if path.suffix == ".npz":
                values = {"dataset": "file", "file": str(path.resolve()), "scored_on": {}}
                task = config.of_values({**task.model_dump(mode="json"), **values})
                task.check_data()
                return held_out_test(task, training, *load(task, "test", store)[1:])
        except (ValueError, OSError) as error:
            raise UnknownTestSetError(f"there is no test set {name!r} for this model: {reason(error)}") from None
        there = f"{', '.join(own)}, an .npz file of joint angles and poses, a .csv file of poses"
        raise UnknownTestSetError(f"there is no test set {name!r} for this model; there are: {there}")

    def init(self, config: Config, hyper: Hyper, key: PRNGKeyArray) -> Model:
        """Return the initial model, whose velocity is 0."""
        return Model(config, key)

    def trained(self, model: Any) -> PyTree[bool]:
        """Return that the network is trained, and neither its average nor the limits are."""
        none = jax.tree.map(lambda _: False, model)
        return eqx.tree_at(lambda m: m.network, none, super().trained(model).network)

    def start_from(self, saved: Model, fresh: Model) -> Model:
        """Return the saved model's average, to be trained on; its joints are scaled by the limits of the config.

        The average is what was validated and kept. The network that it is of is farther from the targets, and in the
        first steps of a training the average is little more than the network.
        """
        known = saved.average, saved.average, fresh.low, fresh.high
        return eqx.tree_at(lambda m: (m.network, m.average, m.low, m.high), saved, known)

    def batch(self, config: Config, data: PyTree[Array], key: PRNGKeyArray) -> PyTree[Array]:
        """Return joint angles, the poses that they reach and the limits; drawn from the examples, or in the limits."""
        limits = Limits(*data["limits"])
        if "samples" in data:
            samples = Samples(*data["samples"])
            chosen = jax.random.randint(key, (config.batch_size,), 0, samples.q.shape[0])
            return *(array[chosen] for array in samples), limits
        share = jax.random.uniform(key, (config.batch_size, limits.low.shape[0]))
        q = limits.low + share * (limits.high - limits.low)
        return q, *forward_kinematics(ROBOTS[config.robot], q), limits

    def loss(
        self, config: Config, hyper: Hyper, model: Any, batch: PyTree[Array], key: PRNGKeyArray, step: Int[Array, ""]
    ) -> Loss:
        """Return the mean of the weighted squared residuals, and the model with its average one step later."""
        q, position, rotation, limits = batch
        scaling = Scaling(limits.low, limits.high, hyper["latent_scale"])
        target, robot = Pose(position, rotation), ROBOTS[config.robot]
        seen = _seen(config, target)
        x = to_latent(q, scaling, seen)
        # All that is random comes from one draw: each takes XLA seconds to compile.
        draws = jax.random.normal(key, (x.shape[0], x.shape[1] + 2))
        noise = draws[:, 2:]
        num_equal = config.num_equal
        distribution, mean, std = (hyper[f"time_{name}"] for name in ("distribution", "mean", "std"))
        r, t = losses.times_from(draws[:, :2], distribution, mean, std, num_equal)
        z, v = (1 - t[:, None]) * x + t[:, None] * noise, noise - x
        pose = condition(robot, config.pose_frequencies, *target, seen)
        improved = config.objective == "improved"
        found = losses.residuals(model.network, z, r, t, v, pose, num_equal=num_equal, improved=improved)
        squares = jnp.sum(found**2, axis=-1)
        weights = losses.weights(squares, hyper["weight_power"], hyper["weight_offset"])
        parts = {
            "residual": jnp.mean(squares),
            "instantaneous": losses.mean_over(squares, 0, num_equal),
            "average": losses.mean_over(squares, num_equal, config.batch_size),
        }
        distance, num_posed = jnp.zeros(()), config.num_posed
        if num_posed:
            last = slice(config.batch_size - num_posed, None)
            ends = jnp.zeros(num_posed), jnp.ones(num_posed)
            solved = noise[last] - model.network(noise[last], *ends, pose[last])
            near, wanted = (jax.tree.map(lambda array: array[last], tree) for tree in (seen, target))
            found_q = from_latent(solved, scaling, near)
            distance = losses.pose_distance(forward_kinematics(robot, found_q), wanted, found_q, limits)
        parts["pose"] = distance
        # An average over as many steps as there have been, at first: it would remember the random start for long.
        decay = jnp.minimum(hyper["ema_decay"], (1.0 + step) / (10.0 + step))
        after = eqx.tree_at(lambda m: m.average, model, averaged(model.average, model.network, decay))
        weight = jnp.where(step >= hyper["pose_start"] * hyper["steps"], hyper["pose_weight"], 0.0)
        value = jnp.mean(weights * squares) + weight * distance
        return Loss(value, parts, jnp.asarray(True), after)

    def validate(self, config: Config, hyper: Hyper, model: Any, data: PyTree[Array]) -> dict[str, Float[Array, ""]]:
        """Return the errors of 8 solutions of each validation pose, from noise that is always the same."""
        target, noise, (low, high) = _wanted(data)
        (q,) = solutions(config, hyper["latent_scale"], model, target, noise, [config.sampling_steps])
        reached = forward_kinematics(ROBOTS[config.robot], q)
        distance, angle = pose_errors(reached, Pose(target.position[:, None], target.rotation[:, None]))
        distance, angle = 1000 * distance, jnp.degrees(angle)
        is_inside = jnp.all((q >= low) & (q <= high), axis=-1)
        return {
            "val_position_error_mm": jnp.median(distance),
            "val_mean_position_error_mm": jnp.mean(distance),
            "val_rotation_error_deg": jnp.median(angle),
            "val_success_pct": 100 * jnp.mean((distance < SUCCESS_MM) & (angle < SUCCESS_DEG)),
            "val_limit_violation_pct": 100 * jnp.mean(~is_inside),
            "val_best_of_8_position_error_mm": jnp.median(jnp.min(distance, axis=1)),
            "val_spread_deg": jnp.degrees(jnp.mean(jnp.std(q, axis=1))),
        }

    def predict(self, config: Config, hyper: Hyper, model: Any, tests: Mapping[str, PyTree[Array]]) -> PyTree[Array]:
        """Return solutions of the test poses by number of steps, and polished ones: the model's, and random ones."""
        results = {}
        for name, (wanted, _, random) in tests.items():
            target, noise, limits = _wanted(wanted)
            numbers = sorted({1, *config.test_steps})
            found = solutions(config, hyper["latent_scale"], model, target, noise, numbers)
            # Both at once: what polishes is compiled once.
            rough = jnp.concatenate([found[0][:, :NUM_POLISHED], random], axis=1)
            own, others = jnp.split(polish_all(config, limits, target, rough), 2, axis=1)
            by_steps = {str(num): q for num, q in zip(numbers, found, strict=True) if num in config.test_steps}
            results[name] = {"solutions": by_steps, "polished": {"polished": own, "random_polished": others}}
        return results

    def score(
        self, config: Config, tests: Mapping[str, PyTree[np.ndarray]], prediction: PyTree[np.ndarray]
    ) -> dict[str, TestResult]:
        """Return the errors of solutions, polished ones and baselines over each test set, and of each pose."""
        results, robot = {}, ROBOTS[config.robot]
        for name, (wanted, nearest, _) in tests.items():
            target = Targets(wanted[0], wanted[1], wanted[2], Limits(*wanted[3]))
            solutions = {int(steps): q for steps, q in prediction[name]["solutions"].items()}
            polished = prediction[name]["polished"]
            metrics = score_metrics(robot, target, nearest, solutions, polished)
            results[name] = TestResult(metrics, pose_table(robot, target, solutions, polished["polished"]))
        return results


def _wanted(targets: PyTree[Array]) -> tuple[Pose, Joints, tuple[Array, Array]]:
    """Return the poses of targets, the noise that solutions are made from, and the joint limits."""
    position, rotation, noise, (low, high) = targets
    return Pose(position, rotation), noise, (low, high)


def solutions(
    config: Config,
    scale: Float[Array, ""] | float,
    model: Model,
    target: Pose,
    noise: Joints,
    numbers: Sequence[int],
) -> list[Joints]:
    """Return the joint angles in radians that noise (n, solutions, joints) becomes, for each pose (n).

    Once for each number of steps; `scale` is the config's `latent_scale`. Joint angles may be beyond their limits.
    """
    seen = _seen(config, target)
    pose = condition(ROBOTS[config.robot], config.pose_frequencies, *target, seen)
    every = jnp.repeat(pose, noise.shape[1], axis=0)
    near = jax.tree.map(lambda array: jnp.repeat(array, noise.shape[1], axis=0), seen)
    flat = noise.reshape(-1, noise.shape[-1])
    found = sample(model.average, flat, every, numbers, by_average=config.objective != "flow_matching")
    return [from_latent(x, Scaling(model.low, model.high, scale), near).reshape(noise.shape) for x in found]


def _seen(config: Config, target: Pose) -> Seen | None:
    """Return where the outer joints of a config are measured from; None if they are not relative."""
    return seen_from_its_azimuth(ROBOTS[config.robot], *target) if config.joint_angles == "relative" else None


def polish_all(config: Config, limits: tuple[Array, Array], target: Pose, q: Joints) -> Joints:
    """Return solutions (n, solutions, joints) of poses (n), polished within the limits."""
    num = q.shape[1]
    every = Pose(jnp.repeat(target.position, num, axis=0), jnp.repeat(target.rotation, num, axis=0))
    return polish(ROBOTS[config.robot], limits, every, q.reshape(-1, q.shape[-1])).reshape(q.shape)


method = MeanFlowIK()
