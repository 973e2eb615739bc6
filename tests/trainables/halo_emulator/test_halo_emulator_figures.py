"""A search of halo_emulator from its trials to its figures."""

import numpy as np
import pytest

from tests.test_method_figures import of, small, train

pytestmark = pytest.mark.slow


def test_the_best_emulator_is_drawn_beside_the_baselines_as_it_was_measured(make_search, tmp_path):
    search = make_search(
        trainable="halo_emulator",
        objective={"metric": "val_nll"},
        base={**small("halo_emulator", "learning_rate"), "gp_haloes": 12},
        space={"learning_rate": [0.01, 0.0001]},
        sampler={"name": "grid"},
        budget={"trials": 2},
    )
    trained = train(search)
    best = trained.completed.sort_values("val_nll").iloc[0]
    found = of(trained, tmp_path)
    names = ("mean_profile", "ridge", "gaussian_process")

    beside = found["baselines"].table().set_index("what")
    assert beside.loc[f"trial {best['trial']}", "nll"] == best["test_nll"]
    for name in names:
        assert beside.loc[name.replace("_", " "), "rmse_dex"] == best[f"test_baseline_{name}_rmse_dex"]

    # 0.68 is between two of the drawn shares.
    covered = found["calibration"].table().set_index(["what", "nominal"])["found"].unstack("what")
    for what, metric in (("model", "test"), *((name.replace("_", " "), f"test_baseline_{name}") for name in names)):
        around = covered[what].iloc[[12, 13]]
        assert around.index.to_numpy() == pytest.approx([0.65, 0.7])
        assert around.iloc[0] <= best[f"{metric}_coverage_68_pct"] / 100 <= around.iloc[1]

    shown = found["profiles"]
    assert shown.trial == best["trial"]
    assert shown.baselines == ["ridge", "gaussian_process"]
    haloes = shown.table().groupby("halo", sort=False)
    errors = [float(np.sqrt(((part["model"] - part["truth"]) ** 2).mean())) for _, part in haloes]
    assert len(errors) == 3
    assert errors == sorted(errors)
    assert errors[0] < best["test_rmse_dex"] < errors[2] * 1.5
    for _, part in haloes:
        np.testing.assert_allclose(part["radius"].iloc[[0, -1]], (0.05, 2.0))
        assert (part["std"] > 0).all()
