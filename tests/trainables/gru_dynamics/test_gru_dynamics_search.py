"""A search of gru_dynamics from its trials to its figure, and `swell evaluate` on a folder of recordings."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from analysis.evaluation.apply import EvaluationError
from analysis.evaluation.evaluate import evaluate
from tests.test_method_figures import of, small, train
from tests.test_readme import block
from trainables.gru_dynamics.metric_names import BASELINES, HORIZON
from trainables.gru_dynamics.simulator import simulate, write_csv

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "docs" / "examples" / "cart_pole_mpc.py"


def test_a_search_is_drawn_evaluated_on_a_folder_and_handed_to_a_controller(make_search, tmp_path):
    search = make_search(
        trainable="gru_dynamics",
        objective={"metric": "val_free_running_mse"},
        base=small("gru_dynamics", "loss_space"),
        space={"loss_space": ["delta", "state"]},
        sampler={"name": "grid"},
        budget={"trials": 2},
    )
    trained = train(search)
    errors = of(trained, tmp_path)["error_growth"].table()
    best = trained.completed.iloc[0]
    assert set(errors["what"]) == {"model", *BASELINES}
    assert errors["step"].max() == 39  # the longest run that 40 rows have
    for what in errors["what"].unique():
        assert np.isfinite(errors.loc[errors["what"] == what, "mse"]).all()
    np.testing.assert_allclose(errors["time"], 0.01 * errors["step"])

    folder = tmp_path / "robot"
    write_csv(folder, simulate(2, 30, "others"))
    said = []
    found = evaluate(trained, [str(folder)], told=said.append)
    assert len(said) == 2
    assert found.table["trial"].tolist() == trained.trials.sort_values("val_free_running_mse")["trial"].tolist()
    assert {f"mse_step_{k}" for k in range(1, HORIZON + 1)} <= set(found.table.columns)
    assert (found.table["baseline_persistence_mse"] > 0).all()
    evaluate(trained, [str(folder)], told=said.append)
    assert len(said) == 2  # known
    write_csv(folder, simulate(2, 30, "further others"))
    again = evaluate(trained, [str(folder)], told=said.append)
    assert len(said) == 4  # a file in the folder has changed
    assert again.table["baseline_persistence_mse"][0] != found.table["baseline_persistence_mse"][0]
    (folder / "trajectory_0001.csv").write_text("timestamp,qpos_0\n0,1\n")
    with pytest.raises(EvaluationError, match="line 1 has no column qpos_1"):
        evaluate(trained, [str(folder)])

    model = search.paths.checkpoint(int(best["trial"]))
    command = [sys.executable, str(EXAMPLE), str(model), "0.03"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("held both poles up for 0.0")


def test_the_example_in_the_docs_is_the_script_that_is_tested():
    assert block("docs/gru_dynamics.md", "python", "mj_step") == EXAMPLE.read_text()
