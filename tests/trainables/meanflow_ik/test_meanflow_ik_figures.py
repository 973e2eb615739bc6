"""The method's figure shows what the trial's record says, and the benchmark's table and line what was measured."""

import json

import numpy as np
import pytest

from analysis.drawing.models import pictures
from benchmarks import meanflow_ik as benchmark
from cluster.state.records import load_trials
from tests.test_method_figures import of, small, train
from trainables.meanflow_ik.metric_names import POLISHED


@pytest.mark.slow
def test_the_solutions_of_the_best_model_are_those_that_were_measured(make_search, tmp_path):
    search = make_search(
        trainable="meanflow_ik",
        objective={"metric": "val_position_error_mm"},
        base=small("meanflow_ik", "learning_rate"),
        space={"learning_rate": [0.001, 0.003]},
        sampler={"name": "grid"},
        budget={"trials": 2},
    )
    loaded = train(search)
    found = of(loaded, tmp_path)["solutions"]
    best = min(load_trials(search.paths), key=lambda one: one.metrics["val_position_error_mm"])
    assert found.trial == best.number
    shares = found.table()
    assert {*shares["how"]} == {"1 step", "2 step", "polished", "random polished"}
    middle = shares.loc[(shares["how"] == "1 step") & (shares["share"] == 0.5), "position_mm"].item()
    assert middle == pytest.approx(best.metrics["test_1_step_median_position_error_mm"], rel=0.02)
    ((_, arrays),) = pictures(loaded, [best.number], "errors", 1)[0].items()
    inside = (arrays["q"] >= arrays["limits"][0]) & (arrays["q"] <= arrays["limits"][1])
    beyond = 100 * np.mean(~inside.all(-1))
    assert beyond == pytest.approx(best.metrics["test_1_step_limit_violation_pct"], abs=0.5)


def _result(objective, steps, seconds, error):
    metrics = {
        f"test_1_step_{name}": error
        for name in (
            *("median_position_error_mm", "mean_position_error_mm", "median_rotation_error_deg", "success_pct"),
            *("limit_violation_pct", "best_of_8_median_position_error_mm", "spread_deg"),
        )
    }
    metrics |= {f"test_{name}_{kind}": 99.0 for name in POLISHED for kind in ("reached_pct", "spread_deg")}
    return {
        "objective": objective, "steps": steps, "seed": 0, "test_steps": [1], "ending": "completed",
        "seconds": seconds, "metrics": metrics,
    }  # fmt: skip


def test_seeds_of_one_length_are_not_extrapolated():
    names = [f"test_1_step_{kind}_position_error_mm" for kind in ("median", "mean")]
    one = {
        "objective": "improved",
        "test_steps": [1],
        "steps": 100,
        "seconds": 82.0,
        "metrics": dict.fromkeys(names, 30.0),
    }
    again = {**one, "seconds": 83.0, "metrics": dict.fromkeys(names, 35.0)}
    assert benchmark.extrapolated({"a": one, "b": again}) == []
    longer = {**again, "steps": 400, "seconds": 330.0}
    median, mean = benchmark.extrapolated({"a": one, "b": longer})
    assert median.endswith("; 40 mm not within 30 years")  # it grows
    assert "7.7 mm (IKFlow) not within 30 years" in mean


def test_the_line_through_trainings_of_several_lengths_is_extrapolated():
    law = benchmark.power_law([100.0, 400.0, 1600.0], [200.0, 100.0, 50.0])
    assert law == pytest.approx((2000.0, 0.5))
    assert benchmark.seconds_to(7.7, law) == pytest.approx((2000 / 7.7) ** 2)
    assert benchmark.seconds_to(7.7, (100.0, -0.1)) == float("inf")
    results = {
        str(k): _result("meanflow", steps, steps / 10, 2000 / (steps / 10) ** 0.5)
        for k, steps in enumerate((1000, 4000, 16000))
    }
    said = benchmark.report(json.loads(json.dumps(results)))
    assert "| meanflow | 1000 | 0 | 100 | 1 | 200 |" in said
    assert "mean: 2000 mm * seconds^-0.5; 7.7 mm (IKFlow) after 18.7 hours" in said
    assert "40 mm after 41.7 minutes" in said


def test_a_length_in_seconds_is_as_many_hundred_steps_as_take_so_long():
    assert [benchmark.steps_within(seconds, 0.04) for seconds in (0.1, 25.0, 300.0)] == [100, 600, 7500]


def test_a_training_that_failed_is_a_row_without_numbers():
    failed = {**_result("improved", 10, 1.0, 1.0), "metrics": {}, "ending": "diverged"}
    assert "| improved | 10 | 0 | 1 | 1 | diverged |" in benchmark.report({"a": failed})
