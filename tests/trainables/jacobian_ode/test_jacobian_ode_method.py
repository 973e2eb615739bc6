import copy
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables._shared.config import numeric
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program, traced_numbers
from trainables._shared.training import Training
from trainables.jacobian_ode import forcing, losses
from trainables.jacobian_ode.config import Config
from trainables.jacobian_ode.data import TASK_STREAM, HeldOut, load
from trainables.jacobian_ode.method import method
from trainables.jacobian_ode.model import Untrained
from trainables.jacobian_ode.rollout import Anchored
from trainables.jacobian_ode.systems import SYSTEMS

SMOKE = method.smoke()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return DatasetStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def data(store):
    return method.data(SMOKE, store)


def changed(**fields):
    return Config.model_validate(SMOKE.model_dump() | fields)


def validated(config, model, held_out):
    """Return the validation metrics of any model; compiled as a whole, which takes a fifth of compiling each step."""
    metrics = jax.jit(lambda held_out: method.validate(config, {}, model, held_out))(held_out)
    return {name: float(value) for name, value in metrics.items()}


def start(config, data, seed=0):
    hyper, key = traced_numbers(config), jax.random.key(seed)
    return hyper, method.init(config, hyper, key), method.batch(config, data.phases[0], key)


@functools.cache
def compiled(key):
    """One program for all configs that differ in numeric fields alone."""
    config = Config.model_validate_json(key)

    def value(network, untrained, batch, hyper, step):
        model = method.init(config, hyper, jax.random.key(0))
        probe = type(model)(network, untrained)
        loss = method.loss(config, hyper, probe, batch, jax.random.key(0), step)
        return loss.value, loss

    return jax.jit(jax.value_and_grad(value, has_aux=True))


def loss_and_gradient(config, data, step=0, batch=None):
    hyper, model, drawn = start(config, data)
    plain = config.model_copy(update={name: getattr(SMOKE, name) for name in numeric(config)})
    function = compiled(plain.model_dump_json())
    (_, loss), gradient = function(model.network, model.untrained, batch or drawn, hyper, jnp.asarray(step))
    return loss, gradient


class Exact:
    """The exact Jacobian in place of a learned one, and the statistics that a trained model would have."""

    def __init__(self, config, scaling):
        self.untrained, self.system = Untrained(jnp.zeros(()), *map(jnp.asarray, scaling)), config.known_system

    def in_units(self, *scaling):
        other = copy.copy(self)
        other.untrained = Untrained(jnp.zeros(()), *scaling)
        return other

    def jacobian(self, z):
        x = (self.untrained.mean + self.untrained.std * z).reshape(-1, z.shape[-1])
        J = jax.vmap(jax.jacfwd(self.system.field))(x).reshape(*z.shape, z.shape[-1])
        return J / (self.untrained.std[:, None] / self.untrained.std)

    def weighted_jacobians(self, points, weights):
        return jnp.einsum("mk,...kij->...mij", weights, self.jacobian(points))

    def physical(self, J):
        return J * (self.untrained.std[:, None] / self.untrained.std)


@pytest.mark.slow
def test_the_loss_is_the_weighted_sum_of_its_parts(data):
    config = changed(loop_weight=0.5, pair_weight=2.0, jacobian_weight=0.25, l1_weight=0.125)
    loss, _ = loss_and_gradient(config, data)
    parts = {name: float(value) for name, value in loss.components.items()}
    assert all(parts[name] > 0 for name in ("trajectory", "loop", "pair", "jacobian", "l1"))
    expected = parts["trajectory"] + 0.5 * parts["loop"] + 2 * parts["pair"]
    expected += 0.25 * parts["jacobian"] + 0.125 * parts["l1"]
    np.testing.assert_allclose(loss.value, expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("term", "closure", "fields"),
    [
        ("loop", "loop_closure", {"loop_weight": 0.0}),
        ("loop", "loop_closure", {"loop_closure": False}),
        ("loop", "loop_closure", {"model": "neural_ode"}),
        ("pair", "pair_closure", {"pair_weight": 0.0}),
        ("pair", "pair_closure", {"pair_weight": 1.0, "model": "neural_ode"}),
    ],
)
def test_without_weight_no_loop_and_no_pair_is_computed(data, monkeypatch, term, closure, fields):
    ran = []

    def loud(*args):
        jax.debug.callback(lambda: ran.append(True))
        return jnp.ones(())

    monkeypatch.setattr(losses, closure, loud)
    compiled.cache_clear()
    loss, _ = loss_and_gradient(changed(**fields), data)
    jax.effects_barrier()
    compiled.cache_clear()
    assert loss.components[term] == 0
    assert not ran


@pytest.mark.slow
def test_the_loss_with_and_without_its_other_terms_is_finite_and_so_are_gradients(data):
    for config in (
        changed(jacobian_weight=0.0, l1_weight=0.0),
        changed(model="neural_ode"),
        changed(quadrature="trapezoid", stages="straight_lines"),
    ):
        loss, gradient = loss_and_gradient(config, data)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((loss.value, loss.components, gradient)))


def test_a_gradient_at_a_constant_jacobian_of_zero_is_finite(data):
    hyper, model, batch = start(SMOKE, data)
    network = jax.tree.map(jnp.zeros_like, model.network)

    def value(network):
        return method.loss(
            SMOKE, hyper, type(model)(network, model.untrained), batch, jax.random.key(0), jnp.asarray(4)
        ).value

    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.jit(jax.grad(value))(network)))


def test_noise_is_that_of_the_sample_and_scales_with_its_level(data):
    _, _, (z, noise, scaling) = start(SMOKE, data)
    training = data.phases[0]
    flat = {row.tobytes(): index for index, row in enumerate(np.asarray(training.z))}
    for state, eps in zip(np.asarray(z).reshape(-1, 2), np.asarray(noise).reshape(-1, 2), strict=True):
        np.testing.assert_array_equal(training.noise[flat[state.tobytes()]], eps)
    quiet = loss_and_gradient(changed(noise=0.0), data)[0]
    by_hand = loss_and_gradient(changed(noise=0.0), data, batch=(z + 0.1 * noise, noise, scaling))[0]
    noisy = loss_and_gradient(changed(noise=0.1), data)[0]
    np.testing.assert_allclose(noisy.value, by_hand.value, rtol=1e-5)
    assert float(noisy.value) != pytest.approx(float(quiet.value), rel=1e-3)


@pytest.mark.parametrize(("step", "moves"), [(0, False), (3, False), (4, True), (5, False), (9, True)])
def test_alpha_moves_every_fifth_batch(data, step, moves):
    alpha = float(loss_and_gradient(SMOKE, data, step)[0].model.untrained.alpha)
    assert (alpha < 1) == moves
    assert 0.9 <= alpha <= 1


def test_the_statistics_of_the_data_travel_with_the_model(data):
    model = loss_and_gradient(SMOKE, data)[0].model
    for ours, theirs in zip(data.phases[0].scaling, jax.tree.leaves(model.untrained)[1:], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    _, model, _ = start(SMOKE, data)
    trained = method.trained(model)
    assert all(jax.tree.leaves(trained.network))
    assert not any(jax.tree.leaves(trained.untrained))


def test_rate_follows_alpha(data):
    hyper, model, _ = start(changed(learning_rate=1e-2, learning_rate_min=1e-4), data)
    assert float(method.rate_factor(SMOKE, hyper, model)) == pytest.approx(1.0)
    let_go = type(model)(model.network, Untrained(jnp.zeros(()), *jax.tree.leaves(model.untrained)[1:]))
    assert float(method.rate_factor(SMOKE, hyper, let_go)) == pytest.approx(0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("system", "dimension"), [("lorenz", 3), ("van_der_pol", 2), ("lorenz96", 6)])
def test_the_exact_jacobian_validates_and_tests_as_such(store, system, dimension):
    config = Config(
        system=system, dimension=dimension, trajectories=6, periods=2, points_per_period=200,
        quadrature="gauss_legendre", inner_points=3, loop_inner_points=3, horizon=10, test_horizons=(1, 10),
    )  # fmt: skip
    data = method.data(config, store)
    exact, held_out = Exact(config, data.phases[0].scaling), HeldOut(*map(jnp.asarray, data.validation))
    metrics = validated(config, exact, held_out)
    for name, value in metrics.items():
        if "noisy" in name:
            assert value == pytest.approx(metrics[name.replace("noisy_", "")], rel=1e-3)
    assert metrics["val_jacobian_error_pct"] < 1e-3
    assert metrics["val_loop_loss"] < 1e-4
    assert metrics["val_one_step_over_persistence"] < 1e-2
    assert metrics["val_free_running_mse"] < 1e-2 * metrics["val_persistence_mse"] * 100
    prediction = jax.jit(lambda tests: method.predict(config, {}, exact, tests))(dict(data.tests))
    (result,) = method.score(config, data.tests, jax.tree.map(np.asarray, prediction)).values()
    assert set(result.metrics) == set(config.final_metrics())
    assert result.metrics["test_frobenius_error_pct"] < 1e-3
    assert result.metrics["test_r2"] == pytest.approx(1.0)
    assert result.metrics["test_lyapunov_error"] < 1e-3
    # A free run of the exact system is the trajectory itself, less the given samples.
    assert result.metrics["test_free_lyapunov_error"] < 0.4
    assert result.metrics["test_mse_1"] < result.metrics["test_persistence_mse_1"] * 1e-2
    assert {len(column) for column in result.table.values()} == {1}


def test_validation_runs_free_whatever_alpha_and_noise_are(data):
    hyper, model, _ = start(SMOKE, data)
    let_go = type(model)(model.network, Untrained(jnp.zeros(()), *jax.tree.leaves(model.untrained)[1:]))
    held_out = HeldOut(*map(jnp.asarray, data.validation))
    validate = jax.jit(lambda hyper, model: method.validate(SMOKE, hyper, model, held_out))
    # The noise of validation is that of the task's data, whatever that of the training is.
    first, second = validate(hyper, model), validate(hyper | {"noise": jnp.asarray(0.5)}, let_go)
    assert np.isfinite(first["val_one_step_mse"])  # an untrained model may leave every bound later on
    np.testing.assert_equal({name: float(v) for name, v in first.items()}, {k: float(v) for k, v in second.items()})
    assert first["val_noisy_persistence_mse"] != first["val_persistence_mse"]


def test_noisy_validation_smooths_the_given_samples_alone(store):
    config = changed(model="neural_ode", noise=0.3)
    data = method.data(config, store)
    hyper, model, _ = start(config, data)
    held_out = HeldOut(*map(jnp.asarray, data.validation))
    given = SMOKE.traj_init_steps

    @jax.jit
    def validate(held_out):
        return method.validate(config, hyper, model, held_out)

    plain = validate(held_out)
    unheard = validate(held_out._replace(noise=jnp.zeros_like(held_out.noise)))
    for name in ("free_running_mse", "one_step_mse", "persistence_mse"):
        assert float(unheard[f"val_noisy_{name}"]) == pytest.approx(float(unheard[f"val_{name}"]), rel=1e-5)
    # Noise on the given samples alone, on what is predicted alone: both count.
    for noise in (held_out.noise.at[:, :given].set(0.0), held_out.noise.at[:, given:].set(0.0)):
        found = validate(held_out._replace(noise=noise))
        assert abs(float(found["val_noisy_one_step_mse"]) - float(found["val_one_step_mse"])) > 1e-3
    quiet = held_out._replace(smoother=jnp.zeros((given, given)))
    assert validate(quiet)["val_noisy_persistence_mse"] == plain["val_noisy_persistence_mse"]
    assert validate(quiet)["val_noisy_one_step_mse"] != plain["val_noisy_one_step_mse"]
    assert validate(quiet)["val_free_running_mse"] == plain["val_free_running_mse"]


def test_the_loop_weight_goes_from_its_start_to_itself_as_alpha_is_let_go(data):
    config = changed(loop_weight=0.5, loop_weight_start=0.2)
    hyper, model, batch = start(config, data)

    @jax.jit
    def loss_at(alpha):
        probe = type(model)(model.network, Untrained(alpha, *jax.tree.leaves(model.untrained)[1:]))
        loss = method.loss(config, hyper, probe, batch, jax.random.key(0), jnp.asarray(0))
        return loss.value, loss.components

    for alpha, weight in ((1.0, 0.1), (0.5, 0.3), (0.0, 0.5)):
        value, components = loss_at(jnp.asarray(alpha))
        parts = {name: float(part) for name, part in components.items()}
        expected = parts["trajectory"] + weight * parts["loop"] + 1e-6 * (parts["jacobian"] + parts["l1"])
        assert float(value) == pytest.approx(expected, rel=1e-5)


def test_release_leaves_a_hundredth_of_alpha_after_its_share_of_the_steps():
    gamma = forcing.share_that_stays(jnp.asarray(0.999), jnp.asarray(0.25), 2000)
    assert float(gamma) ** (2000 * 0.25 / forcing.EVERY) == pytest.approx(0.01, rel=1e-3)
    assert forcing.share_that_stays(jnp.asarray(0.999), jnp.asarray(0.0), 2000) == np.float32(0.999)
    assert np.isfinite(forcing.share_that_stays(jnp.asarray(0.999), jnp.asarray(1e-9), 10))


@pytest.mark.slow
def test_least_squares_starts_runs_at_the_state_that_it_fits(data):
    config = changed(base_point="least_squares", noise=0.1)
    hyper, model, batch = start(config, data)
    two_ends = changed(noise=0.1)

    @jax.jit
    def trajectory_terms(batch):
        return [
            method.loss(each, hyper, model, batch, jax.random.key(0), jnp.asarray(0)).components["trajectory"]
            for each in (two_ends, config)
        ]

    first, second = trajectory_terms(batch)
    assert float(first) != pytest.approx(float(second), rel=1e-3)
    loss, gradient = loss_and_gradient(config, data)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((loss.value, gradient)))


@pytest.mark.slow
def test_the_field_at_a_learned_anchor_is_trained_and_its_place_is_not(data):
    config = changed(anchor="learned", base_point="least_squares", noise=0.1)
    training = Training(Program(method, config), config, data)
    before = jax.tree.map(np.asarray, training.state.params)
    while not (report := training.advance()).ending:
        pass
    assert report.ending == "completed"
    after = jax.tree.map(np.asarray, training.state.params)
    assert np.abs(after.at_anchor - before.at_anchor).min() > 1e-3
    assert np.array_equal(after.anchor, np.zeros(2))
    metrics = training.results().metrics
    assert np.isfinite([metrics["test_free_lyapunov_1"], metrics["val_noisy_free_running_mse"]]).all()


@pytest.mark.slow
def test_with_a_learned_anchor_a_run_depends_on_its_start_alone(data):
    config = changed(anchor="learned", pair_weight=1.0)
    hyper, model, (z, noise, scaling) = start(config, data)
    model = eqx.tree_at(lambda model: model.at_anchor, model, jnp.asarray([1.0, -2.0]))
    other = np.array(z)
    other[:, : config.traj_init_steps - 1] += 1.0
    losses_of = [
        method.loss(config, hyper, model, (given, noise, scaling), jax.random.key(0), jnp.asarray(0)).components
        for given in (z, jnp.asarray(other))
    ]
    assert losses_of[0]["trajectory"] == losses_of[1]["trajectory"]
    assert losses_of[0]["pair"] == 0


@pytest.mark.slow
def test_recordings_report_no_error_of_the_jacobian(store, tmp_path):
    x = np.stack([np.sin(np.arange(60) / 5 + k) for k in range(12)]).reshape(6, 2, 60).swapaxes(1, 2)
    np.savez(tmp_path / "waves.npz", x=x, dt=0.1)
    fields = {"system": "file", "file": str(tmp_path / "waves.npz"), "dimension": 2, "steps": 2, "report_every": 1}
    config = changed(**fields)
    recorded = method.data(config, store)
    training = Training(Program(method, config), config, recorded)
    report = training.advance()
    assert np.isnan(report.metrics["val_jacobian_error"])
    assert np.isfinite(report.metrics["val_free_running_mse"])
    training.advance()
    assert set(training.test()["test"].metrics) == set(config.final_metrics())


def test_a_start_from_a_saved_model_begins_teacher_forcing_anew():
    fresh = method.init(method.smoke(), traced_numbers(method.smoke()), jax.random.key(0))
    saved = jax.tree.map(lambda leaf: leaf + 2 if hasattr(leaf, "shape") else leaf, fresh)
    begun = method.start_from(saved, fresh)
    assert begun.untrained.alpha == fresh.untrained.alpha == 1
    assert np.array_equal(begun.untrained.mean, saved.untrained.mean)
    assert np.array_equal(begun.network.layers[0].weight, saved.network.layers[0].weight)


def test_systems_are_the_configs():
    assert set(SYSTEMS) | {"file"} == set(Config.model_fields["system"].annotation.__args__)


@pytest.mark.slow
def test_the_jacobian_of_lorenz_is_learned(store):
    config = Config(
        trajectories=16, hidden=(64, 64), quadrature="gauss_legendre", inner_points=5, loop_inner_points=5, gamma=0.98,
        learning_rate=3e-3, steps=1000, report_every=250,
    )  # fmt: skip
    training = Training(Program(method, config), config, method.data(config, store))
    while not training.advance().ending:
        pass
    metrics = training.test()["test"].metrics
    assert metrics["test_frobenius_error_pct"] < 40 < metrics["test_lwlr_frobenius_error_pct"]
    assert metrics["test_mse_10"] < 0.01 * metrics["test_persistence_mse_10"]
    assert metrics["test_lyapunov_1"] == pytest.approx(metrics["test_lyapunov_1_exact"], abs=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jacobian", "neural_ode", "anchored"])
def test_a_model_in_other_units_is_the_same_dynamics(data, kind):
    _, model, _ = start(changed(**({"anchor": "learned"} if kind == "anchored" else {"model": kind})), data)
    own = Untrained(jnp.ones(()), *map(jnp.asarray, data.phases[0].scaling))
    model = eqx.tree_at(lambda model: model.untrained, model, own)
    if kind == "anchored":
        state, field = jnp.asarray([0.25, -0.5]), jnp.asarray([1.0, -2.0])
        model = eqx.tree_at(lambda model: (model.anchor, model.at_anchor), model, (state, field))
    same = model.in_units(own.mean, own.std, own.dt, own.time)
    assert all(np.array_equal(*pair) for pair in zip(jax.tree.leaves(same), jax.tree.leaves(model), strict=True))
    mean, std = own.mean + jnp.asarray([1.0, -2.0]), own.std * jnp.asarray([3.0, 0.5])
    other = model.in_units(mean, std, 2 * own.dt, own.time / 3)
    x = mean + std * jax.random.normal(jax.random.key(1), (7, 2))
    there, here = (x - mean) / std, (x - own.mean) / own.std
    np.testing.assert_allclose(
        other.physical(other.jacobian(there)), model.physical(model.jacobian(here)), rtol=1e-4, atol=1e-4
    )
    if kind == "neural_ode":
        np.testing.assert_allclose(std * other.field(there), own.std * model.field(here), rtol=1e-4, atol=1e-5)
    if kind == "anchored":
        first, second = (
            Anchored(one, one.anchor, one.scaled(one.at_anchor), "gauss_legendre", 4).field(z)
            for one, z in ((other, there), (model, here))
        )
        np.testing.assert_allclose(std * first, own.std * second, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_one_task_scores_what_is_trained_on_other_data_by_the_same_yardstick(store):
    task = {"trajectories": 6, "periods": 2, "points_per_period": 50}
    few, many = (
        changed(trajectories=num, periods=periods, points_per_period=100, scored_on=task)
        for num, periods in ((4, 1), (9, 3))
    )
    first, second = (method.trial_data(config, store) for config in (few, many))
    for part in ("validation", "tests"):
        pair = zip(*(jax.tree.leaves(getattr(data, part)) for data in (first, second)), strict=True)
        assert all(np.array_equal(*arrays) for arrays in pair)
    reports = [Training(Program(method, one), one, data).advance() for one, data in ((few, first), (many, second))]
    assert reports[0].metrics["val_persistence_mse"] == reports[1].metrics["val_persistence_mse"]
    assert reports[0].metrics["val_free_running_mse"] != reports[1].metrics["val_free_running_mse"]
    # No sample of the task is trained on.
    x = {tuple(row) for row in np.asarray(load(many, store).x).reshape(-1, 2).round(9)}
    own = np.asarray(load(many.task(), store, TASK_STREAM).x).reshape(-1, 2).round(9)
    assert not any(tuple(row) in x for row in own)
    # Exact dynamics are exact in any units.
    exact = Exact(few, first.phases[0].scaling)
    metrics = validated(few.task(), exact, HeldOut(*map(jnp.asarray, first.validation)))
    assert metrics["val_jacobian_error_pct"] < 1e-3
