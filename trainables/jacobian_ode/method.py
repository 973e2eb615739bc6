"""The Jacobian method: what the shared training loop needs of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from trainables._shared.contract import Hyper, Loss, Method, Phase, TestResult, TrialData
from trainables._shared.datasets import DatasetStore
from trainables._shared.statistics import kept
from trainables.jacobian_ode import forcing, losses
from trainables.jacobian_ode.baselines import one_step
from trainables.jacobian_ode.config import Config
from trainables.jacobian_ode.data import TASK_STREAM, HeldOut, Scaling, Test, Training, build
from trainables.jacobian_ode.lyapunov import spectrum
from trainables.jacobian_ode.metric_names import LARGEST_SPECTRUM, SPECTRA, exponent_name, free_running_name
from trainables.jacobian_ode.metrics import by_trajectory, eigenvalue_share, frobenius, jacobian_errors, mean_square
from trainables.jacobian_ode.model import (
    AnchoredModel,
    Model,
    Network,
    States,
    Untrained,
    VectorFieldModel,
    empty_statistics,
    make_model,
)
from trainables.jacobian_ode.quadrature import RuleName
from trainables.jacobian_ode.rollout import (
    Anchored,
    BasePoint,
    Field,
    Step,
    base_point_field,
    fitted_base_point,
    fitted_start,
    forced_run,
    free_run,
    rk4_step,
    rk4_step_along,
)

TEST_SET = "test"
VALIDATION_LOOPS = (16, 20)
"""Loops whose closure is validated, and points of each."""
VALIDATION_RULE: tuple[RuleName, int] = ("gauss_legendre", 5)


class JacobianODE(Method[Config]):
    """Dynamics through a learned Jacobian (Eisen et al. 2025, arXiv 2507.01946)."""

    config_type = Config

    def smoke(self) -> Config:
        """Return a small network on a few short trajectories of Van der Pol's oscillator."""
        return Config(
            system="van_der_pol",
            trajectories=6,
            periods=2,
            points_per_period=50,
            noise=0.01,
            hidden=(16,),
            traj_init_steps=5,
            sequence_length=10,
            horizon=10,
            test_horizons=(1, 10),
            inner_points=4,
            loop_points=6,
            loop_inner_points=4,
            jacobian_weight=1e-6,
            l1_weight=1e-6,
            steps=40,
            batch_size=8,
            learning_rate=1e-2,
            gamma=0.9,
            report_every=20,
        )

    def phases(self, config: Config) -> Sequence[Phase]:
        """Return the only phase."""
        return [Phase(config.steps, config.learning_rate)]

    def data(self, config: Config, store: DatasetStore) -> TrialData:
        """Return the training trajectories, and held-out ones to validate and test on."""
        config.check_data()
        return _trial_data(*build(config, store))

    def task_data(self, config: Config, task: Config, store: DatasetStore) -> TrialData:
        """Return the data of a task, of other initial conditions than any that is trained on."""
        task.check_data()
        return _trial_data(*build(task, store, TASK_STREAM))

    def init(self, config: Config, hyper: Hyper, key: PRNGKeyArray) -> Model:
        """Return the initial model: alpha is 1."""
        return make_model(config.model, config.num_components, config.widths, key, config.anchor)

    def trained(self, model: Any) -> PyTree[bool]:
        """Return that the network and the field at an anchor are trained; alpha, the statistics, its place are not."""
        every = super().trained(model)
        if isinstance(model, AnchoredModel):
            every = eqx.tree_at(lambda tree: tree.anchor, every, False)
        return eqx.tree_at(lambda tree: tree.untrained, every, jax.tree.map(lambda _: False, every.untrained))

    def start_from(self, saved: Model, fresh: Model) -> Model:
        """Return the saved model with alpha as it begins: teacher forcing, and its learning rate, start anew."""
        return eqx.tree_at(lambda model: model.untrained.alpha, saved, fresh.untrained.alpha)

    def rate_factor(self, config: Config, hyper: Hyper, model: Any) -> Float[Array, ""]:
        """Return the learning rate that follows alpha, over its peak."""
        rates = hyper["learning_rate_k"], hyper["learning_rate_min"], hyper["learning_rate"]
        return forcing.rate_factor(model.untrained.alpha, *rates)

    def batch(self, config: Config, data: PyTree[Array], key: PRNGKeyArray) -> PyTree[Array]:
        """Return sequences drawn at random, the unit noise of their samples, and the statistics of the data."""
        data = Training(*data)
        starts = data.starts
        if starts.shape[0] > config.batch_size:
            starts = starts[jax.random.randint(key, (config.batch_size,), 0, starts.shape[0])]
        samples = starts[:, None] + jnp.arange(config.sequence_length)
        return data.z[samples], data.noise[samples], data.scaling

    def loss(
        self, config: Config, hyper: Hyper, model: Any, batch: PyTree[Array], key: PRNGKeyArray, step: Int[Array, ""]
    ) -> Loss:
        """Return the error of the forced run after the given samples, with loop closure and penalties."""
        z, noise, scaling = batch
        model, z = _in_own_units(model, z + hyper["noise"] * noise, Scaling(*scaling))
        alpha = model.untrained.alpha
        given, observed = z[:, : config.traj_init_steps], z[:, config.traj_init_steps :]
        states = z.reshape(-1, z.shape[-1])
        step_ahead, first = _run(config, model, given)
        predicted = forced_run(step_ahead, first, observed, alpha)
        weights = {name: hyper[f"{name}_weight"] for name in ("loop", "pair", "jacobian", "l1")}
        weights["loop"] = forcing.annealed(alpha, weights["loop"], hyper["loop_weight_start"])
        parts = {
            "trajectory": jnp.mean((predicted - observed) ** 2),
            "loop": self._loop(config, weights["loop"], model, states, key),
            "pair": self._pairs(config, weights["pair"], model, given),
            "jacobian": losses.where_weighted(
                weights["jacobian"],
                lambda network: losses.squared_norm(_with_network(model, network), states),
                model.network,
            ),
            "l1": losses.where_weighted(weights["l1"], losses.absolute_weights, model.network),
            "alpha": alpha,
        }
        value = parts["trajectory"]
        for name, weight in weights.items():
            value = value + weight * parts[name]
        after = self._next_alpha(config, hyper, jax.lax.stop_gradient(model), z, step)
        after = eqx.tree_at(lambda tree: tree.untrained.alpha, model, after)
        return Loss(value, parts, jnp.asarray(True), after)

    def _loop(
        self,
        config: Config,
        weight: Float[Array, ""],
        model: Model,
        states: Float[Array, "states n"],
        key: PRNGKeyArray,
    ) -> Float[Array, ""]:
        if not config.loop_closure or isinstance(model, VectorFieldModel):
            return jnp.zeros(())

        def closure(network: Network) -> Float[Array, ""]:
            corners = losses.draw_corners(states, config.batch_size, config.loop_points, key)
            probe = _with_network(model, network)
            return losses.loop_closure(probe, corners, config.quadrature, config.loop_inner_points)

        return losses.where_weighted(weight, closure, model.network)

    def _pairs(
        self, config: Config, weight: Float[Array, ""], model: Model, given: Float[Array, "batch samples n"]
    ) -> Float[Array, ""]:
        if isinstance(model, VectorFieldModel | AnchoredModel):
            return jnp.zeros(())

        def closure(network: Network) -> Float[Array, ""]:
            probe = _with_network(model, network)
            _, at_base = _base_point(config, probe, given)
            return losses.pair_closure(probe, given[:, -1], at_base, config.quadrature, config.inner_points)

        return losses.where_weighted(weight, closure, model.network)

    def _next_alpha(
        self, config: Config, hyper: Hyper, model: Model, z: Float[Array, "batch samples n"], step: Int[Array, ""]
    ) -> Float[Array, ""]:
        now, dt = model.untrained.alpha, model.untrained.dt
        gamma = forcing.share_that_stays(hyper["gamma"], hyper["release"], config.steps)

        def update() -> Float[Array, ""]:
            return forcing.next_alpha(now, model.jacobian(z), dt, gamma, hyper["alpha_min"])

        return jax.lax.cond(jnp.asarray((step + 1) % forcing.EVERY == 0), update, lambda: now)

    def validate(self, config: Config, hyper: Hyper, model: Any, data: PyTree[Array]) -> dict[str, Float[Array, ""]]:
        """Return free-running (alpha 0) and one-step errors on held-out trajectories, and how plausible J is.

        The errors are of trajectories without noise, and of the same with it: of those, given samples are smoothed as
        the training data are, and what is predicted is as it was recorded.
        """
        windows, states, *scaling, noise, smoother = map(jnp.asarray, HeldOut(*data))
        model = model.in_units(*scaling)  # of the data, which need not be those that it was trained on
        noisy = windows + noise
        given = jnp.einsum("st,btn->bsn", smoother, noisy[:, : config.traj_init_steps])
        given = jnp.concatenate([windows[:, : config.traj_init_steps], given])
        run = free_run(*_run(config, model, given), config.horizon)
        errors = {}
        for name, seen, predicted in zip(("val_", "val_noisy_"), (windows, noisy), jnp.split(run, 2), strict=True):
            last, later = seen[:, config.traj_init_steps - 1], seen[:, config.traj_init_steps :]
            one_step_mse = jnp.mean((predicted[:, 0] - later[:, 0]) ** 2)
            persistence_mse = jnp.mean((last - later[:, 0]) ** 2)
            errors |= {
                f"{name}free_running_mse": jnp.mean((predicted - later) ** 2),
                f"{name}one_step_mse": one_step_mse,
                f"{name}persistence_mse": persistence_mse,
                f"{name}one_step_over_persistence": one_step_mse / persistence_mse,
            }
        dt, num = model.untrained.dt, states.shape[-1]
        J = model.jacobian(states)
        # The same loops and the same rule at every report of every trial: a search may choose by them.
        corners = losses.draw_corners(states, *VALIDATION_LOOPS, jax.random.key(0))
        loop = losses.loop_closure(model, corners, *VALIDATION_RULE)
        exact = _exact(config, model.untrained, states)
        error = jnp.mean(frobenius(exact - model.physical(J)))
        return {
            **errors,
            "val_loop_loss": loop,
            "val_loop_loss_over_sqrt_n": loop / num**0.5,
            "val_eigenvalue_share": eigenvalue_share(J, dt),
            "val_jacobian_error": error,
            "val_jacobian_error_pct": 100 * error / jnp.mean(frobenius(exact)),
        }

    def predict(self, config: Config, hyper: Hyper, model: Any, tests: Mapping[str, PyTree[Array]]) -> PyTree[Array]:
        """Return free runs from the test windows, J at test states, and Lyapunov spectra, with what they should be.

        The spectra are of J along the test trajectories, the learned one's and the exact one's: along the same states
        and in the same units (over a finite time the exponents depend on those), the two differ by J alone. Those along
        the model's own free runs, of the same length and from the same starts, also say where it goes.
        """
        model = model.in_units(*map(jnp.asarray, Scaling(*tests[TEST_SET]["scaling"])))
        test, untrained = Test(*tests[TEST_SET]["test"]), model.untrained
        trajectories, states = jnp.asarray(test.trajectories), jnp.asarray(test.states)
        windows = jnp.asarray(test.windows).reshape(-1, *test.windows.shape[2:])
        given = windows[:, : config.traj_init_steps]
        run = free_run(*_run(config, model, given), max(config.test_horizons))
        first = jnp.asarray(test.windows)[:, 0, : config.traj_init_steps]
        own = free_run(*_run(config, model, first), trajectories.shape[1] - config.base_sample)
        J = model.jacobian(states)
        share = eigenvalue_share(J.reshape(-1, *J.shape[2:]), untrained.dt)
        prediction = {
            "run": run.reshape(*test.windows.shape[:2], *run.shape[1:]),
            "jacobian": model.physical(J),
            "eigenvalue_share": share,
            "lyapunov": spectrum(model.physical(model.jacobian(trajectories)), untrained.dt),
            "free_lyapunov": spectrum(model.physical(model.jacobian(own)), untrained.dt),
        }
        if config.known_system is not None:
            prediction["exact_jacobian"] = _exact(config, untrained, states)
            exact = _exact(config, untrained, trajectories)
            prediction["exact_lyapunov"] = spectrum(exact, untrained.dt)
        return prediction

    def score(
        self, config: Config, tests: Mapping[str, PyTree[np.ndarray]], prediction: PyTree[np.ndarray]
    ) -> dict[str, TestResult]:
        """Return the errors of the model and of both baselines over the test set, and of each of its trajectories."""
        test, scaling = Test(*tests[TEST_SET]["test"]), Scaling(*tests[TEST_SET]["scaling"])
        metrics = {"test_eigenvalue_share": float(prediction["eigenvalue_share"])}
        table: dict[str, list[float]] = {"trajectory": [float(i) for i in range(len(test.trajectories))]}
        for name, squares in _square_errors(config, test, scaling, prediction["run"]).items():
            metrics[name] = float(squares.mean())
            table[name.removeprefix("test_")] = squares.tolist()
        if "exact_jacobian" in prediction:
            exact = prediction["exact_jacobian"]
            lwlr = test.states_fit.jacobian * (scaling.std[:, None] / scaling.std)
            for source, estimate in (("", prediction["jacobian"]), ("lwlr_", lwlr)):
                for name, value in jacobian_errors(exact, estimate).items():
                    metrics[f"test_{source}{name}"] = value
                for name, values in by_trajectory(exact, estimate).items():
                    table[f"{source}{name}"] = values
        spectra = {name: prediction[name] for name in SPECTRA if name in prediction}
        for name, exponents in spectra.items():
            for index in range(min(exponents.shape[1], LARGEST_SPECTRUM)):
                column = exponent_name(name, index)
                metrics[f"test_{column}"] = float(exponents[:, index].mean())
                table[column] = exponents[:, index].tolist()
        if (exact := spectra.pop("exact_lyapunov", None)) is not None:
            for name, exponents in spectra.items():
                metrics[f"test_{name}_error"] = float(np.sqrt(np.mean((exponents.mean(0) - exact.mean(0)) ** 2)))
        return {TEST_SET: TestResult(metrics, table)}


def _trial_data(training: Training, validation: HeldOut, test: Test) -> TrialData:
    return TrialData([training], validation, {TEST_SET: {"test": test, "scaling": training.scaling}})


def _in_own_units(model: Model, z: States, scaling: Any) -> tuple[Model, States]:
    """Return a model with the statistics that it trains by, and states of these data, z, standardised by them.

    `scaling` is the Scaling of the data, in traced arrays; a model that has seen no data takes that. With it z stays as
    it is, to the last bit.
    """
    old, drawn = model.untrained, empty_statistics(z.shape[-1])
    own, new = (old.mean, old.std, old.time), (scaling.mean, scaling.std, scaling.time)
    mean, std, time = kept(own, (drawn.mean, drawn.std, drawn.time), new)
    model = eqx.tree_at(lambda tree: tree.untrained, model, Untrained(old.alpha, mean, std, scaling.dt, time))
    return model, z * (scaling.std / std) + (scaling.mean - mean) / std


def _run(config: Config, model: Model, given: Float[Array, "batch samples n"]) -> tuple[Step, Float[Array, "batch n"]]:
    """Return the model's way from one sample to the next, for sequences that begin with the given samples.

    And the state at the last given sample, where their runs start.
    """
    dt, last = model.untrained.dt, given[:, -1]

    def start_of(field: Field) -> Float[Array, "batch n"]:
        rule = config.spline_quadrature, config.spline_points
        return fitted_start(field, given, dt, *rule) if config.base_point == "least_squares" else last

    if isinstance(model, VectorFieldModel):
        return lambda x: rk4_step(model.field, x, dt), start_of(model.field)
    if isinstance(model, AnchoredModel):
        at_anchor = model.scaled(model.at_anchor)
        field = Anchored(model, model.anchor, at_anchor, config.quadrature, config.inner_points)
        start = start_of(field.field)
    else:
        start, at_base = _base_point(config, model, given)
        # The field is known where the spline ends, whose integrals it is made of: at the last given sample.
        field = Anchored(model, last, at_base, config.quadrature, config.inner_points)
    if config.stages == "along_step":
        return lambda x: rk4_step_along(field, x, dt), start
    return lambda x: rk4_step(field.field, x, dt), start


def _with_network(model: Model, network: Network) -> Any:
    return eqx.tree_at(lambda tree: tree.network, model, network)


def _base_point(config: Config, model: Model, given: Float[Array, "batch samples n"]) -> BasePoint:
    """Return where the runs of a learned J start, and the vector field at the last given sample."""
    rule = model.untrained.dt, config.spline_quadrature, config.spline_points
    if config.base_point == "least_squares":
        return fitted_base_point(model, given, *rule)
    return BasePoint(given[:, -1], base_point_field(model, given, *rule))


def _exact(config: Config, untrained: Untrained, z: Float[Array, "*batch n"]) -> Float[Array, "*batch n n"]:
    """Return the exact Jacobian at standardised states, in the data's units; NaN where it is unknown."""
    system = config.known_system
    if system is None:
        return jnp.full((*z.shape, z.shape[-1]), jnp.nan)
    x = (untrained.mean + untrained.std * z).reshape(-1, z.shape[-1])
    return jax.vmap(jax.jacfwd(system.field))(x).reshape(*z.shape, z.shape[-1])


def _square_errors(
    config: Config, test: Test, scaling: Scaling, run: Float[np.ndarray, "trajectories windows samples n"]
) -> dict[str, Float[np.ndarray, " trajectories"]]:
    """Return each trajectory's mean square errors, by the name of the metric that is their mean."""
    base, later = test.windows[:, :, config.traj_init_steps - 1], test.windows[:, :, config.traj_init_steps :]
    errors = {}
    for horizon in config.test_horizons:
        truth = later[:, :, horizon - 1]
        errors[free_running_name("", horizon)] = mean_square(run[:, :, horizon - 1] - truth)
        errors[free_running_name("persistence_", horizon)] = mean_square(base - truth)
    lwlr = one_step(base, test.windows_fit, scaling.dt)
    errors[free_running_name("lwlr_", 1)] = mean_square(lwlr - later[:, :, 0])
    return errors


method = JacobianODE()
