"""Figures of two_body searches: of the exact field they show what Kepler says, and of wrong fields what is wrong."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.drawing.discovery import figures
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.render import drawn
from analysis.figures.two_body import (
    along_orbit,
    data_sets,
    error_boxes,
    error_by_elements,
    force_law,
    lead_and_lag,
    network_values,
    residual_field,
)
from analysis.figures.two_body._errors import angle_deg, error_pct, lead_deg, magnitude_pct
from trainables._shared.checkpoint import write_checkpoint
from trainables._shared.choice import is_choice
from trainables._shared.program import traced_numbers
from trainables._shared.saved import load_model
from trainables.two_body import pictures
from trainables.two_body.config import Config
from trainables.two_body.heads import HEADS
from trainables.two_body.method import method, solve
from trainables.two_body.model import exact_acceleration

CONFIG = Config(
    dataset="complex_TBP_planar_4_train",
    test_datasets=("simple_TBP_planar_5_test", "simple_TBP_planar_1_test"),
    substeps=4,
)
FIGURES = {figure.name: figure for figure in figures() if figure.method == "two_body"}


def saved(model):
    return SimpleNamespace(method=method, config=CONFIG, model=model)


def exact(y):
    return exact_acceleration(y)


def stronger(y):
    return 1.1 * exact_acceleration(y)


def turned(y):
    """The exact field turned by 3 degrees about z."""
    a, c, s = exact_acceleration(y), np.cos(np.deg2rad(3.0)), np.sin(np.deg2rad(3.0))
    return jnp.stack([c * a[0] - s * a[1], s * a[0] + c * a[1], a[2]])


@pytest.fixture(scope="module")
def kepler():
    return pictures.orbits(saved(exact))


def test_the_exact_field_has_no_residual_and_neither_leads_nor_lags(kepler):
    assert kepler["y"].shape == (5, 360, 6)  # the largest test set
    assert error_pct(kepler).max() < 1e-3
    assert np.abs(lead_deg(kepler)).max() < 0.05
    assert np.abs(residual_field.residuals({0: kepler}).points["residual_x"]).max() < 1e-3


@pytest.mark.parametrize(("field", "magnitude", "angle"), [(stronger, 10.0, 0.0), (turned, 0.0, 3.0)])
def test_errors_of_magnitude_and_direction_are_told_apart(field, magnitude, angle):
    found = pictures.orbits(saved(field))
    assert magnitude_pct(found) == pytest.approx(magnitude, abs=1e-3)
    assert angle_deg(found) == pytest.approx(angle, abs=1e-3)


def test_an_orbit_in_a_stronger_field_runs_ahead_and_one_in_a_weaker_field_behind():
    ahead, behind = pictures.orbits(saved(stronger)), pictures.orbits(saved(lambda y: 0.9 * exact_acceleration(y)))
    assert (lead_deg(ahead)[:, 300] > 1).all()
    assert (lead_deg(behind)[:, 300] < -1).all()
    assert lead_and_lag.leads({0: ahead}).leads["p50"].iloc[300] == pytest.approx(np.median(lead_deg(ahead)[:, 300]))


@pytest.mark.parametrize("solver", ["mesh", "adaptive"])
def test_the_propagated_orbits_are_those_that_are_scored(solver):
    config = CONFIG.model_copy(update={"solver": solver, "max_steps": 1})
    found = pictures.orbits(SimpleNamespace(method=method, config=config, model=stronger))
    y0, t = jnp.asarray(np.moveaxis(found["y"][:, 0], -1, 0), jnp.float32), jnp.asarray(found["t"].T, jnp.float32)
    max_steps = config.max_steps * -(-360 // config.segment_length)
    scored = solve(config, traced_numbers(config), stronger, y0, t, max_steps).y
    expected = np.asarray(scored, np.float64).transpose(2, 0, 1)  # orbits, samples, components
    expected[(expected == 0).all(-1)] = np.nan
    assert np.isfinite(expected).all() == (solver == "mesh")  # so few steps do not reach the end
    np.testing.assert_allclose(found["propagated"][:, 1:], expected, atol=2e-3)


def test_trained_models_of_a_search_share_a_program(tmp_path, monkeypatch):
    traced = []
    monkeypatch.setattr(pictures, "exact_acceleration", lambda y: traced.append(y) or exact_acceleration(y))
    searched = {"head": ["mlp_4D_signed", "mlp_4D_unit_softplus"], "activation": ["leaky_relu", "tanh"]}
    kinds = [("mlp_4D_signed", "tanh", 1e-3), ("mlp_4D_unit_softplus", "leaky_relu", 1e-2)]
    for head, activation, rate in kinds:
        config = CONFIG.model_copy(update={"head": head, "activation": activation, "learning_rate": rate})
        model = method.init(config, traced_numbers(config), jax.random.key(1))
        path = tmp_path / f"{head}.npz"
        params = eqx.filter(model, eqx.is_array, is_leaf=is_choice)
        meta = {"config": config.model_dump(mode="json"), "bests": {"best": {"step": 1, "metrics": {}}}}
        write_checkpoint(path, {"best": params}, {**meta, "extra": {"trainable": "two_body"}})
        shared = pictures.orbits(load_model(path, searched=searched))
        count = len(traced)
        alone = pictures.orbits(load_model(path))
        del traced[count:]
        np.testing.assert_allclose(shared["a"], alone["a"], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(shared["outputs"], alone["outputs"], rtol=1e-4, atol=1e-5)
    assert len(traced) == 1


def test_a_lead_counts_whole_turns():
    angle, fast = np.linspace(0, 2 * np.pi, 361)[:-1], np.linspace(0, 6 * np.pi, 361)[:-1]
    true = np.stack([np.cos(angle), np.sin(angle), 0 * angle, -np.sin(angle), np.cos(angle), 0 * angle], -1)[None]
    there = np.stack([np.cos(fast), np.sin(fast), 0 * fast, 0 * fast, 0 * fast, 0 * fast], -1)[None]
    assert lead_deg({"y": true, "propagated": there})[0] == pytest.approx(np.rad2deg(fast - angle))


def test_the_exact_force_law_has_slope_minus_two_and_attracts_everywhere():
    law = force_law.law(pictures.radii(saved(exact)))
    assert law.slope == pytest.approx(-2.0, abs=1e-5)
    assert (law.fails_inside, law.fails_outside, law.fails_within) == (None, None, 0.0)


def test_the_radius_where_attraction_fails_is_that_of_the_field():
    def repelling(y):  # a/r^2 (1 - r/3) outside, and repulsion within 0.05
        r = jnp.sqrt(jnp.sum(y[:3] ** 2, axis=0, keepdims=True))
        return exact_acceleration(y) * jnp.where(r < 0.05, -1.0, 1 - r / 3)

    found = pictures.radii(saved(repelling))
    law = force_law.law(found)
    step = found["radius"][1] / found["radius"][0]
    assert 0.05 / step <= law.fails_inside <= 0.05
    assert 3 <= law.fails_outside <= 3 * step
    low, high = law.trained
    assert 0.05 < low < high < 3


def test_boxes_are_percentiles_along_the_orbit_of_orbits_and_of_trials():
    errors = np.random.default_rng(0).random((7, 360))
    found = error_boxes.boxes({3: errors, 5: 2 * errors}).boxes
    assert found.groupby("kind").size().to_dict() == {"time": 24, "orbit": 7, "trial": 2}
    first = found.loc[found["kind"] == "time"].iloc[0]
    assert first["p50"] == pytest.approx(np.median(errors[:, :15]))
    orbit = found.loc[found["kind"] == "orbit"].iloc[0]
    assert orbit["p50"] == pytest.approx(np.median(errors, axis=1).min())
    trial = found.loc[found["kind"] == "trial"].set_index("place")
    assert trial.loc[5, "p95"] == pytest.approx(2 * np.percentile(errors, 95))


def test_the_correlation_with_an_element_is_spearmans(kepler):
    wrong = {**kepler, "a": kepler["a"] * (1 + kepler["elements"][:, 0, None, None] ** 3)}
    found = error_by_elements.by_elements({0: wrong})
    assert found.correlations[0, "semi_major_axis"] == pytest.approx(1.0)
    e, error = kepler["elements"][:, 1], found.points["error_pct"]
    assert found.correlations[0, "eccentricity"] == pytest.approx(stats.spearmanr(e, error).statistic)


def test_sign_changes_are_where_the_line_between_two_samples_crosses_zero():
    t = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    values = np.array([1.0, -1.0, -3.0, 0.0, -1.0, 0.0, 1.0])
    assert network_values.sign_changes(t, values).tolist() == [0.5, 5.0]


def test_what_the_network_gives_is_what_its_head_turns_into_the_acceleration():
    model = method.init(CONFIG, traced_numbers(CONFIG), jax.random.key(0))
    found = pictures.orbits(saved(model))
    flat = jnp.asarray(np.moveaxis(found["y"], -1, 0))
    head = HEADS[CONFIG.head][1](jnp.asarray(np.moveaxis(found["outputs"], -1, 0)), flat)
    assert np.moveaxis(found["a"], -1, 0)[:2] == pytest.approx(np.asarray(head)[:2], rel=1e-4, abs=1e-5)
    assert found["inputs"][..., 0] == pytest.approx(1 / np.linalg.norm(found["y"][..., :3], axis=-1), rel=1e-5)
    data = network_values.network_values(0, found, 2)
    assert list(data.values.columns) == [
        "t",
        *(f"input_{k}" for k in range(1, 8)),
        *(f"output_{k}" for k in range(1, 5)),
    ]
    assert drawn(FIGURES["network_values"], data).axes


def test_the_last_report_of_each_phase_is_taken():
    reports = pd.DataFrame(
        {"trial": 4, "step": [10, 20, 30, 40], "val_accel_error_pct": [9.0, 8, 7, 6], "val_accel_angle_deg": 1.0}
    )
    ends = along_orbit.phase_ends(reports, np.array([20, 40]))
    assert ends[["phase", "step", "val_accel_error_pct"]].to_numpy().tolist() == [[1, 20, 8], [2, 40, 6]]
    assert along_orbit.phase_ends(reports.iloc[:0], np.array([20])).empty


def test_the_data_sets_are_the_segments_of_each_phase_and_whole_orbits():
    data = data_sets.DataSets(0, pictures.data_sets(saved(exact)), "")
    assert data.sets["phase_1"].shape == (4 * 20, 18, 3)
    assert data.sets["validation"].shape == (16, 360, 3)
    assert data.table().groupby("set").size()["simple_TBP_planar_5_test"] == 5
    assert drawn(FIGURES["data_sets"], data).axes


@pytest.mark.parametrize("lost", [False, True], ids=["reached", "lost"])
def test_every_figure_is_drawn_even_of_fields_that_are_lost(kepler, lost):
    one = dict(kepler)
    if lost:
        one["propagated"] = np.where(np.arange(360)[:, None] < 1, one["propagated"], np.nan)
        one["a"] = np.full_like(one["a"], np.nan)
    ends = along_orbit.phase_ends(pd.DataFrame({"trial": [], "step": []}), np.array([1]))
    orbit = along_orbit.AlongOrbit(0, along_orbit.samples({0: one}, 0), [(0, 90)], ends, "")
    parts = {
        "residual_field": residual_field.residuals({0: one}),
        "lead_and_lag": lead_and_lag.leads({0: one}),
        "error_by_elements": error_by_elements.by_elements({0: one}),
        "along_orbit": orbit,
    }
    if lost:
        with pytest.raises(NothingToShowError, match="no error is finite"):
            error_boxes.boxes({0: error_pct(one)})
    else:
        parts["error_boxes"] = error_boxes.boxes({0: error_pct(one)})
    for name, data in parts.items():
        assert drawn(FIGURES[name], data).axes
        assert isinstance(data.table(), pd.DataFrame)
