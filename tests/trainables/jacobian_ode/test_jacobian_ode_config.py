import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from trainables._shared.config import ConfigError, numeric, structural_key
from trainables.jacobian_ode.config import PAPER_HIDDEN, Config
from trainables.jacobian_ode.splits import split_counts


def refusal(**fields):
    with pytest.raises(ValidationError) as caught:
        Config(**fields)
    return str(caught.value)


def test_checking_a_config_does_not_load_jax():
    code = (
        "import sys; from trainables.jacobian_ode.config import Config; c = Config(); c.check_data(); "
        "c.unused_fields(); c.final_metrics(); sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"system": "lorentz"}, "van_der_pol"),
        ({"hidden": []}, "at least 1 item"),
        ({"hidden": [64, 0]}, "greater than or equal to 1"),
        ({"hidden": "papers"}, "'paper'"),
        ({"gamma": 1.5}, "less than or equal to 1"),
        ({"noise": -0.1}, "greater than or equal to 0"),
        ({"smoothing": 3}, "1, 5, 7, 9"),
        ({"smoothing": 10}, "1, 5, 7, 9"),
        ({"release": 1.5}, "less than or equal to 1"),
        ({"loop_weight_start": -1.0}, "greater than or equal to 0"),
        ({"validation": "noise"}, "'noisy' or 'clean'"),
        ({"base_point": "ends"}, "'two_ends' or 'least_squares'"),
        ({"data_seed": -1}, "greater than or equal to 0"),
        ({"sequence_length": 15}, "at least 16"),
        ({"test_horizons": [1, 1]}, "twice"),
        ({"inner_points": 20, "quadrature": "simpson"}, "19, 21"),
        ({"loop_inner_points": 20, "inner_points": 19, "quadrature": "simpson"}, "19, 21"),
        ({"learning_rate_min": 1e-3}, "must not exceed learning_rate, which is 0.0001"),
        ({"dimension": 3, "system": "lorenz96"}, "at least 4"),
        ({"file": "/data/x.npz"}, "system lorenz, which is generated"),
        ({"file": "x.npz", "system": "file"}, "must be absolute"),
        ({"file": "/data/x.mat", "system": "file"}, "end in .npz or .csv"),
        ({"file": "wandb:x", "system": "file"}, "W&B"),
        ({"loops": 3}, "loops"),
    ],
)
def test_wrong_values_are_named_with_the_way_out(fields, expected):
    message = refusal(**fields)
    assert expected in message
    assert next(iter(fields)) in message


def test_recordings_need_a_file():
    assert "an absolute path" in refusal(system="file")


def test_paper_is_the_papers_network():
    assert Config(hidden="paper").widths == PAPER_HIDDEN == (256, 1024, 2048, 2048)
    assert Config(hidden=[32, 16]).widths == (32, 16)


def test_weights_rates_and_noise_compile_nothing_new():
    names = set(numeric(Config()))
    assert {"loop_weight", "learning_rate", "learning_rate_min", "gamma", "noise", "alpha_min"} <= names
    assert {"jacobian_weight", "l1_weight", "weight_decay", "seed"} <= names
    changed = Config(loop_weight=0.0, noise=0.1, gamma=0.5, alpha_min=0.1, learning_rate=1e-2)
    assert structural_key(changed) == structural_key(Config())
    assert structural_key(Config(loop_closure=False)) != structural_key(Config())


def test_which_data_there_are_compiles_no_other_training():
    other = Config(data_seed=3, smoothing=15, validation="clean")
    assert structural_key(other.for_training()) == structural_key(Config().for_training())
    assert structural_key(other) != structural_key(Config())


def test_a_trajectory_shorter_than_the_window_that_smooths_it_is_refused():
    with pytest.raises(ConfigError, match=r"1200 samples; smoothing needs 1201"):
        Config(smoothing=1201).check_data()
    Config(smoothing=1199).check_data()


def test_a_rule_without_a_number_of_nodes_has_as_many_as_it_needs():
    def nodes(**fields):
        config = Config(**fields)
        return config.inner_points, config.loop_inner_points, config.spline_points

    assert nodes() == nodes(quadrature="gauss_legendre", spline_quadrature="gauss_legendre") == (4, 4, 2)
    assert nodes(quadrature="trapezoid") == (20, 20, 2)
    assert nodes(quadrature="simpson", inner_points=5) == (5, 21, 2)
    assert nodes(spline_quadrature="trapezoid") == (4, 4, 4)
    assert "spline_quadrature" in refusal(spline_quadrature=["trapezoid"])


def test_a_record_of_before_the_later_fields_is_what_it_was():
    recorded = Config(quadrature="trapezoid", spline_quadrature="trapezoid", stages="straight_lines").model_dump()
    del recorded["stages"], recorded["spline_quadrature"], recorded["validation"]
    config = Config.of_values(Config.recorded(recorded))
    assert config.selected_by() == ("val_free_running_mse", "min")
    assert Config().selected_by() == ("val_noisy_free_running_mse", "min")
    assert (config.stages, config.spline_quadrature, config.spline_points) == ("straight_lines", "trapezoid", 4)
    assert Config().stages == "along_step"


def test_components_are_the_systems():
    assert Config().num_components == 3
    assert Config(system="van_der_pol").num_components == 2
    assert Config(system="lorenz96", dimension=32).num_components == 32


@pytest.mark.parametrize(
    ("fields", "unused"),
    [
        ({}, {"dimension", "file_pieces"}),
        ({"system": "lorenz96"}, {"file_pieces"}),
        ({"loop_closure": False}, {"dimension", "file_pieces", "loop_weight", "loop_weight_start"}),
        ({"loop_weight": 0.0}, {"dimension", "file_pieces", "loop_weight_start"}),
        ({"release": 0.5}, {"dimension", "file_pieces", "gamma"}),
        (
            {"anchor": "learned"},
            {"dimension", "file_pieces", "pair_weight", "spline_quadrature", "spline_points"},
        ),
        ({"anchor": "learned", "base_point": "least_squares"}, {"dimension", "file_pieces", "pair_weight"}),
        ({"batch_size": 1}, {"dimension", "file_pieces", "pair_weight"}),
        (
            {"model": "neural_ode"},
            {"dimension", "file_pieces", "loop_closure", "loop_weight", "loop_weight_start", "loop_points",
             "anchor", "pair_weight", "loop_inner_points", "quadrature", "inner_points", "stages", "spline_quadrature",
             "spline_points"},
        ),
        (
            {"model": "neural_ode", "base_point": "least_squares"},
            {"dimension", "file_pieces", "loop_closure", "loop_weight", "loop_weight_start", "loop_points",
             "anchor", "pair_weight", "loop_inner_points", "quadrature", "inner_points", "stages"},
        ),
    ],
)  # fmt: skip
def test_fields_without_effect_are_named(fields, unused):
    assert set(Config(**fields).unused_fields()) == unused


@pytest.mark.parametrize("metric", ["train_pair", "train_loss"])
def test_a_weight_of_pairs_that_there_are_not_changes_no_yardstick(metric):
    plain = Config().yardstick(metric)
    assert Config(pair_weight=0.5).yardstick(metric) != plain
    assert Config(pair_weight=0.5, anchor="learned").yardstick(metric) == plain
    same = Config(pair_weight=0.5).yardstick(metric) == Config(pair_weight=0.25).yardstick(metric)
    assert same == (metric == "train_pair")  # which says how far pairs are off, whatever that weighs in the loss
    node = Config(model="neural_ode").yardstick(metric)
    assert Config(model="neural_ode", pair_weight=0.5).yardstick(metric) == node


@pytest.mark.parametrize(("num", "counts"), [(3, (1, 1, 1)), (8, (6, 1, 1)), (32, (24, 4, 4))])
def test_split_takes_an_eighth_to_validate_and_one_to_test(num, counts):
    assert split_counts(num) == counts


def test_trajectories_shorter_than_a_free_run_are_refused():
    with pytest.raises(ConfigError, match=r"60 samples.*need 65") as caught:
        Config(periods=3, points_per_period=20).check_data()
    assert caught.value.field == "periods"


def test_final_metrics_depend_on_what_is_known():
    lorenz = Config().final_metrics()
    assert {"test_frobenius_error", "test_lwlr_r2", "test_persistence_mse_50", "test_lyapunov_3_exact"} <= set(lorenz)
    assert {"test_free_lyapunov_3", "test_free_lyapunov_error"} <= set(lorenz)
    recorded = Config(system="file", file="/data/x.npz", dimension=2).final_metrics()
    assert {"test_lyapunov_2", "test_free_lyapunov_2"} <= set(recorded)
    assert "test_free_lyapunov_error" not in recorded
    assert not any("exact" in name or "frobenius" in name for name in recorded)
    assert "test_lyapunov_13" not in Config(system="lorenz96", dimension=32).final_metrics()


# -- files


def write(path, **arrays):
    np.savez(path, **arrays)
    return Config(system="file", file=str(path), dimension=2, test_horizons=[1, 5], horizon=5)


GOOD = np.random.default_rng(0).normal(size=(4, 40, 2))


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"y": GOOD, "dt": 0.1}, "holds dt (), y (4, 40, 2) (allowed: x"),
        ({"x": GOOD}, "holds x (4, 40, 2)"),
        ({"x": GOOD, "dt": 0.1, "t": np.arange(40.0)}, "holds dt (), t (40,), x"),
        ({"x": GOOD, "t": np.arange(39.0)}, "t (39,)"),
        ({"x": GOOD.astype(str), "dt": 0.1}, "its x is of <U32 (allowed: real numbers"),
        ({"x": np.where(np.arange(40)[:, None] == 7, np.nan, GOOD), "dt": 0.1}, "not finite at sample 8"),
        (
            {"x": GOOD, "t": np.arange(40.0) ** 2},
            "trajectory 1 of 4 is not sampled every 39, the mean gap of all: samples 1 and 2 are",
        ),
        ({"x": GOOD, "dt": -0.1}, "its dt is -0.1"),
        ({"x": GOOD * [1.0, 0.0], "dt": 0.1}, "component 2 never changes"),
        ({"x": np.tile(GOOD, 2), "dt": 0.1}, "has 4 components (allowed: 4)"),
        ({"x": GOOD[:2], "dt": 0.1}, "leaves 2 of the 3 pieces"),
        ({"x": GOOD[0], "dt": 0.1}, "leaves 1 of the 3 pieces"),
        ({"x": GOOD[:, :19], "dt": 0.1}, "shortest trajectory has 19 samples"),
        ({"x": np.array([{}]), "dt": 0.1}, "cannot be read"),
    ],
)
def test_bad_arrays_are_refused(tmp_path, arrays, expected):
    config = write(tmp_path / "recording.npz", **arrays)
    with pytest.raises(ConfigError) as caught:
        config.check_data()
    assert expected in str(caught.value)
    assert caught.value.field in ("file", "dimension", "file_pieces")
    assert caught.value.allowed


HEADER = "trajectory,t,u,v\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("\n" + HEADER + "a,0,1,2\n", "has an empty line 1, where its header belongs"),
        ("t;u;v\n0,0;1;2\n", "has semicolons between its columns, where commas belong"),
        ("t\tu\tv\n", "has tabs between its columns"),
        (HEADER, "and 0 rows"),
        ("u,v\n1,2\n", "has the header 'u,v'"),
        ("trajectory,t\na,0\n", "has the header 'trajectory,t'"),
        (HEADER + "a,0,1\n", "line 2 has 3 values, and the header 4"),
        (HEADER + "a,0,1,2\n\na,1,x,2\n", "line 4, column u holds 'x', which is no number"),
        (HEADER + "a,0,1,2\n", "fewer than two samples"),
        (HEADER + "a,0," + "1" * 200_000 + ",2\n", "cannot be read: field larger"),
        (HEADER + "a,0,1,2\na,1,nan,2\n", "not finite at sample 2"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, expected):
    path = tmp_path / "recording.csv"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Config(system="file", file=str(path), dimension=2).check_data()
    assert expected in str(caught.value)
    assert caught.value.field == "file"


def test_a_missing_or_damaged_file_is_named(tmp_path):
    for name in ("none.npz", "none.csv"):
        with pytest.raises(ConfigError, match="No such file"):
            Config(system="file", file=str(tmp_path / name)).check_data()
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(ConfigError, match="cannot be read"):
        Config(system="file", file=str(tmp_path / "damaged.npz")).check_data()
    np.save(tmp_path / "renamed.npy", GOOD)
    (tmp_path / "renamed.npy").rename(tmp_path / "renamed.npz")
    with pytest.raises(ConfigError, match="cannot be read"):
        Config(system="file", file=str(tmp_path / "renamed.npz")).check_data()


def test_a_component_that_never_changes_is_named_whatever_rounding_makes_of_it(tmp_path):
    x = np.array(GOOD)
    x[..., 1] = 0.1
    with pytest.raises(ConfigError, match="component 2 never changes"):
        write(tmp_path / "recording.npz", x=x, dt=0.1).check_data()


def test_a_table_that_a_spreadsheet_has_written_is_read(tmp_path):
    rows = "".join(f"{name},{0.1 * k},{k % 7},{k % 5}\n" for name in "abc" for k in range(60))
    (tmp_path / "recording.csv").write_bytes(b"\xef\xbb\xbf" + (HEADER + rows).encode())
    small = {"horizon": 5, "test_horizons": (1, 5)}
    Config(system="file", file=str(tmp_path / "recording.csv"), dimension=2, **small).check_data()


def test_a_sequence_that_is_too_long_is_the_one_named():
    with pytest.raises(ConfigError, match="sequence_length needs 5000") as caught:
        Config(sequence_length=5000).check_data()
    assert "smaller sequence_length" in str(caught.value.allowed)


def test_a_file_that_is_written_anew_is_read_anew(tmp_path):
    config = write(tmp_path / "recording.npz", x=GOOD[:2], dt=0.1)
    with pytest.raises(ConfigError):
        config.check_data()
    write(tmp_path / "recording.npz", x=GOOD, dt=0.1).check_data()


def test_a_single_recording_can_be_cut(tmp_path):
    config = write(tmp_path / "recording.npz", x=np.concatenate(GOOD), dt=0.1)
    config.model_copy(update={"file_pieces": 4, "sequence_length": 20}).check_data()
    with pytest.raises(ConfigError, match="shortest trajectory has 10 samples") as caught:
        config.model_copy(update={"file_pieces": 16}).check_data()
    assert caught.value.field == "file_pieces"
