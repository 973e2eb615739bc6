"""A searched field must not move the yardstick: `check` refuses a search whose trials cannot be compared."""

import numpy as np
import pytest

from cluster.commands.check import check
from search_spaces.errors import SpecError
from search_spaces.spec import load_spec

METRICS = {
    "two_body": "val_accel_error_pct",
    "latent_ode": "val_extrapolation_error_pct",
    "jacobian_ode": "val_free_running_mse",
}


@pytest.fixture
def files(tmp_path):
    """Data files: of series, and of recordings."""
    rng = np.random.default_rng(0)
    made = {}
    for name in ("one", "two"):
        t = np.sort(rng.uniform(0, 5, size=(40, 12)), axis=1)
        made[f"series_{name}"] = str(tmp_path / f"series_{name}.npz")
        np.savez(made[f"series_{name}"], y=np.stack([np.sin(t), np.cos(t)], -1) + rng.normal(size=(40, 1, 2)), t=t)
        made[f"waves_{name}"] = str(tmp_path / f"waves_{name}.npz")
        np.savez(made[f"waves_{name}"], x=rng.normal(size=(6, 900, 2)), dt=0.1)
    return made


@pytest.fixture
def checked(tmp_path, files):
    def run(method, space, base="{}", metric=None, more=""):
        file = tmp_path / "s.yaml"
        lines = [
            "name: try",
            f"trainable: {method}",
            f"objective: {{metric: {metric or METRICS[method]}}}",
            f"base: {base}",
            "space:",
            *(f"  {line}" for line in space.split("\n")),
            "sampler: {name: random}",
            "budget: {trials: 10}",
            more,
        ]
        text = "\n".join(lines)
        for name, path in files.items():
            text = text.replace(name.upper(), path)
        file.write_text(text)
        return check(load_spec(file))

    return run


LATENT_FILE = "{dataset: file, file_components: 2}"
WAVES = "{system: file, file: WAVES_ONE, dimension: 2}"
REFUSED = [
    ("two_body", "dataset: [complex_TBP_planar_10_train, simple_TBP_planar_10_train]", "{}", None),
    ("two_body", "dataset: [complex_TBP_planar_10_train, complex_TBP_3D_10_train]", "{}", None),
    ("two_body", "dataset: [complex_TBP_planar_1_train, complex_TBP_planar_10_train]", "{val_dataset: training}", None),
    ("two_body", "data_seed: [0, 1]", "{val_dataset: training}", None),
    ("two_body", "val_dataset: [auto, training]", "{}", None),
    ("two_body", "fix_nu0: [true, false]", "{}", None),
    ("two_body", "sampling: [mean_anomaly, true_anomaly]", "{}", None),
    ("two_body", "missing_tail: {low: 0.0, high: 0.5}", "{val_dataset: training}", None),
    ("two_body", "test_datasets: {choices: {a: [simple_TBP_planar_10_test], b: [complex_TBP_planar_10_test]}}", "{}",
     "test_10_accel_error_mean_pct"),
    ("two_body", "attraction_weight: {low: 0.0, high: 1.0}", "{}", "train_loss"),
    ("two_body", "nmse_weight: [0.5, 1.0]", "{loss: percent_error_plus_nmse}", "train_loss"),
    ("two_body", "loss: [percent_error, mse]", "{}", "train_loss"),
    ("two_body", "curriculum: {choices: {whole: [{steps: 9}], part: [{steps: 9, window: [0.0, 0.5]}]}}", "{}",
     "train_percent_error"),
    ("two_body", "segment_length: [4, 18]", "{}", "train_loss"),
    ("latent_ode", "dataset: [spirals, file]\nfile: {choices: [SERIES_ONE], when: {dataset: file}}\n"
     "file_components: {choices: [2], when: {dataset: file}}", "{}", None),
    ("latent_ode", "file: [SERIES_ONE, SERIES_TWO]", LATENT_FILE, None),
    ("latent_ode", "orbit_family: [circular, simple]", "{dataset: orbits}", None),
    ("latent_ode", "num_series: [256, 2048]", "{}", None),
    ("latent_ode", "num_observed: {low: 10, high: 30, type: int}", "{}", None),
    ("latent_ode", "missing_share: [0.0, 0.5]", "{}", None),
    ("latent_ode", "extrapolation: [0.5, 1.0]", "{}", None),
    ("latent_ode", "noise: {low: 0.01, high: 0.1, log: true}", "{}", None),
    ("latent_ode", "noise_variance: [0.1, 1.0]", "{}", "val_reconstruction"),
    ("latent_ode", "kl_weight: [0.1, 1.0]", "{}", "train_loss"),
    ("jacobian_ode", "system: [lorenz, lorenz96]", "{}", None),
    ("jacobian_ode", "dimension: [12, 16]", "{system: lorenz96}", None),
    ("jacobian_ode", "file: [WAVES_ONE, WAVES_TWO]", "{system: file, dimension: 2}", None),
    ("jacobian_ode", "file_pieces: [1, 2]", WAVES, None),
    ("jacobian_ode", "trajectories: [16, 32]", "{}", None),
    ("jacobian_ode", "periods: [6, 12]", "{}", None),
    ("jacobian_ode", "points_per_period: [50, 100]", "{}", None),
    ("jacobian_ode", "horizon: [1, 25]", "{}", None),
    ("jacobian_ode", "traj_init_steps: [10, 20]", "{}", None),
    ("jacobian_ode", "loop_weight: [0.1, 1.0]", "{}", "train_loss"),
    ("jacobian_ode", "jacobian_weight: [0.0, 1.0]", "{}", "train_loss"),
    ("jacobian_ode", "l1_weight: [0.0, 1.0]", "{}", "train_loss"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "space", "base", "metric"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_searched_field_that_moves_the_yardstick_is_refused(checked, method, space, base, metric):
    with pytest.raises(SpecError) as caught:
        checked(method, space, base, metric)
    name = space.split(":")[0]
    lines = str(caught.value).splitlines()
    assert f"s.yaml:6: space.{name}" in lines[0]
    assert f"changes what {metric or METRICS[method]} is measured by" in lines[0]
    assert "base" in lines[0]


ALLOWED = [
    ("two_body", "dataset: [complex_TBP_planar_1_train, complex_TBP_planar_100_train]\ndata_seed: [0, 1]", "{}", None),
    ("two_body", "missing_tail: [0.0, 0.5]\nattraction_weight: [0.0, 1.0]\ntest_datasets: {choices: "
     "{a: [simple_TBP_planar_10_test], b: [complex_TBP_planar_10_test]}}", "{}", None),
    ("two_body", "fix_nu0: [true, false]", "{scored_on: {fix_nu0: false}}", None),
    ("two_body", "dataset: [complex_TBP_planar_4_train, simple_TBP_planar_4_train]",
     "{val_dataset: complex_TBP_planar_16_val}", None),
    ("latent_ode", "noise_variance: [0.1, 1.0]\nkl_weight: [0.1, 1.0]\ntarget: [observed, whole]\nrtol: [1.0e-4, 1e-3]",
     "{solver: adaptive}", None),
    ("latent_ode", "noise: {low: 0.01, high: 0.1}\nnum_series: [64, 256]\nnum_observed: [10, 30]",
     "{scored_on: {noise: 0.05, num_series: 256, num_observed: 20}}", None),
    ("latent_ode", "dataset: [spirals, file]\nfile: {choices: [SERIES_ONE], when: {dataset: file}}\n"
     "file_components: {choices: [2], when: {dataset: file}}",
     "{scored_on: {dataset: file, file: SERIES_TWO, file_components: 2}}", None),
    ("jacobian_ode", "noise: [0.0, 0.1]\nloop_weight: [0.1, 1.0]\ntraj_init_steps: [5, 10, 15]", "{}", None),
    ("jacobian_ode", "traj_init_steps: [5, 15, 20]\nsequence_length: [25, 30]", "{free_run_start: 20}", None),
    ("jacobian_ode", "horizon: [1, 25]", "{}", "val_jacobian_error"),
    ("jacobian_ode", "trajectories: [8, 32]\nperiods: [6, 12]\npoints_per_period: [50, 100]",
     "{scored_on: {trajectories: 32, periods: 12, points_per_period: 100}}", None),
    ("jacobian_ode", "loop_weight: {low: 0.1, high: 1.0}", "{}", "train_loop"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "space", "base", "metric"), ALLOWED, ids=lambda value: str(value)[:40])
def test_what_does_not_move_it_or_has_one_task_passes(checked, method, space, base, metric):
    assert checked(method, space, base, metric).num_checked


def test_a_constraint_is_a_yardstick_too(checked):
    bound = "constraints: [{metric: val_one_step_over_persistence, max: 1.0}]"
    with pytest.raises(SpecError, match=r"space\.horizon = \[1, 25\]: changes what val_one_step_over_persistence"):
        checked("jacobian_ode", "horizon: [1, 25]", metric="val_jacobian_error", more=bound)


def test_a_searched_task_is_refused_and_the_others_it_names_are_not(checked):
    space = "dataset: [complex_TBP_planar_4_train, simple_TBP_planar_4_train]\n"
    space += "scored_on: {choices: {a: {dataset: complex_TBP_planar_4_train}, b: {dataset: simple_TBP_planar_4_train}}}"
    with pytest.raises(SpecError) as caught:
        checked("two_body", space)
    (line,) = str(caught.value).splitlines()
    assert "s.yaml:7: space.scored_on = ['a', 'b']: changes what val_accel_error_pct is measured by" in line


def test_the_task_that_a_message_shows_is_enough(checked):
    space = "trajectories: [8, 32]\nperiods: [6, 12]"
    with pytest.raises(SpecError) as caught:
        checked("jacobian_ode", space)
    assert len(str(caught.value).splitlines()) == 2
    assert "for instance {trajectories: 32, periods: 12}; or one value under base" in str(caught.value)
    assert checked("jacobian_ode", space, "{scored_on: {trajectories: 32, periods: 12}}").num_checked


@pytest.mark.parametrize(
    ("method", "base", "message"),
    [
        ("two_body", "{scored_on: {head: mlp_rtn}}", "base.scored_on = 'head': is no field that says what trials are"),
        ("jacobian_ode", "{scored_on: {traj_init_steps: 20}}", "'traj_init_steps': is no field that says what trials"),
        ("two_body", "{scored_on: {sampling: often}}", "with it there is no such task: sampling = 'often'"),
        ("two_body", "{scored_on: {dataset: complex_TBP_3D_4_train}}", "complex_TBP_3D_4_train leaves the x-y plane"),
        ("latent_ode", "{scored_on: {dataset: orbits}}", "has series of 4 components, and the model is of 2"),
        ("jacobian_ode", "{scored_on: {system: lorenz96}}", "has trajectories of 12 components, and the model is of 3"),
        ("jacobian_ode", "{scored_on: {periods: 1, points_per_period: 20}}", "its shortest trajectory has 20 samples"),
        ("jacobian_ode", "{system: file, file: WAVES_ONE, dimension: 2, scored_on: {file_pieces: 2}}",
         "what it holds out would be trained on"),
        ("latent_ode", "{dataset: file, file: SERIES_ONE, file_components: 2, scored_on: {extrapolation: 2.0}}",
         "series that it holds out may be trained on"),
    ],
)  # fmt: skip
def test_a_task_that_cannot_be_is_refused_by_name(checked, method, base, message):
    with pytest.raises(SpecError) as caught:
        checked(method, "learning_rate: [0.001, 0.01]", base)
    assert message in str(caught.value)
    assert "s.yaml:4: base.scored_on" in str(caught.value)


@pytest.mark.parametrize(
    ("method", "base", "message"),
    [
        ("latent_ode", "{dataset: file, file: SERIES_ONE, scored_on: {dataset: spirals, file: null}}",
         "s.yaml:4: base.file_components"),
        ("jacobian_ode", "{sequence_length: 10, scored_on: {system: lorenz}}", "s.yaml:4: base.sequence_length = 10"),
        ("two_body", "{dataset: 'wandb:a/b/c:v1', scored_on: {dataset: complex_TBP_planar_10_train}}",
         "planar = 'auto'"),
    ],
)  # fmt: skip
def test_what_is_wrong_without_the_task_is_said_of_its_own_field(checked, method, base, message):
    with pytest.raises(SpecError) as caught:
        checked(method, "learning_rate: [0.001, 0.01]", base)
    assert message in str(caught.value)
    assert "scored_on" not in str(caught.value)
