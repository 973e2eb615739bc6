"""Tables and figures of the latent_ode searches, for docs/latent_ode.md.

    python -m benchmarks.results.latent_ode searches/latent-ode-spirals searches/latent-ode-orbits --figures DIR

For each search: its best trials, and the best one beside every baseline on the test series; where trials without a KL
term were among the choices, how those with one stood at the same step. With `--figures`: series that nobody has trained
on (at the quartiles of the best model's error), what is read of them, and how it and the best baseline go on.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from benchmarks.results.finished import Finished, markdown
from cluster.state.records import load_history
from trainables._shared.datasets import DatasetStore
from trainables._shared.training import traced_numbers
from trainables.latent_ode.data import Series, Span, Statistics
from trainables.latent_ode.metric_names import BASELINES
from trainables.latent_ode.metrics import baseline_predictions, observations

BEST = 5
METRIC = "val_extrapolation_error_pct"
SHOWN = (METRIC, "test_extrapolation_error_pct", "test_reconstruction_error_pct")


def best_table(finished: Finished) -> pd.DataFrame:
    """Return the best trials: what was searched, blank where it has no effect, and their errors."""
    rows = []
    for trial in finished.completed[:BEST]:
        unused = finished.config(int(trial["trial"])).unused_fields()
        searched = {name: "" if name in unused else trial[name] for name in finished.table.searched}
        rows.append({"trial": trial["trial"], **searched, **{name: trial[name] for name in SHOWN}})
    return pd.DataFrame(rows)


def baseline_table(finished: Finished) -> pd.DataFrame:
    """Return the best trial's error beyond the observed span on the test series, and every baseline's."""
    best = finished.completed[0]
    errors = {"latent ODE": best["test_extrapolation_error_pct"]}
    errors |= {name.replace("_", " "): best[f"test_baseline_{name}_error_pct"] for name in BASELINES}
    return pd.DataFrame({"on test series": list(errors), "extrapolation error, %": list(errors.values())})


def by_kl(finished: Finished) -> pd.DataFrame:
    """Return the least validation error at each report, with and without a KL term, and how many trials got there."""
    without = {row["trial"]: bool(row["deterministic"]) for row in finished.table.frame.to_dict("records")}
    errors: dict[tuple[int, bool], dict[int, float]] = {}
    for entry in load_history(finished.paths):
        if METRIC in entry.get("metrics", {}):
            key = entry["step"], without[entry["trial"]]
            errors.setdefault(key, {})[entry["trial"]] = entry["metrics"][METRIC]
    table = []
    for step in sorted({step for step, _ in errors}):
        row: dict[str, Any] = {"step": step}
        for kind, name in ((True, "without KL"), (False, "with KL")):
            there = errors.get((step, kind), {})
            row |= {f"trials {name}": len(there), f"least error {name}, %": min(there.values(), default=math.nan)}
        table.append(row)
    return pd.DataFrame(table)


def predicted(finished: Finished) -> dict[str, Any]:
    """Return test series, what is observed of them, and what the best model and the best baseline make of them."""
    best = finished.completed[0]
    saved = finished.model(int(best["trial"]))
    config: Any = saved.config
    ((name, test),) = saved.method.data(config, DatasetStore()).tests.items()
    series = Series(*(Span(*span) for span in test["series"]))
    stats = Statistics(*test["statistics"])
    on_device = jax.tree.map(jnp.asarray, {name: test})
    model = saved.method.predict(config, traced_numbers(config), saved.model, on_device)[name]
    baselines = baseline_predictions(series, Span(*test["reference"]), stats, config.noise)
    least = min(BASELINES, key=lambda one: best[f"test_baseline_{one}_error_pct"])
    return {
        "series": series,
        "seen": observations(series.observed, stats, config.noise)[0],
        "model": {span: np.asarray(model[span]) for span in ("observed", "later")},
        "baseline": baselines[least],
        "baseline_name": least.replace("_", " "),
    }


def draw_series(finished: Finished, file: Path) -> None:
    """Draw the test series at the quartiles of the model's error, in the plane of their first two components."""
    import matplotlib.pyplot as plt

    found = predicted(finished)
    series, model = found["series"], found["model"]
    errors = np.sqrt(np.mean((model["later"] - series.later.y) ** 2, (1, 2)))
    shown = np.argsort(errors)[[len(errors) // 4, len(errors) // 2, 3 * len(errors) // 4]]
    figure, axes = plt.subplots(1, len(shown), figsize=(9, 3.4), layout="constrained")
    for index, axis in zip(shown, axes, strict=True):
        whole = np.concatenate([series.observed.y[index], series.later.y[index]])
        ours = np.concatenate([model["observed"][index], model["later"][index]])
        axis.plot(*whole[:, :2].T, color="black", lw=2.5, alpha=0.3, label="truth")
        axis.plot(*found["baseline"][index, :, :2].T, color="#999999", ls=":", label=found["baseline_name"])
        axis.plot(*ours[:, :2].T, color="#0072b2", lw=1.2, label="latent ODE")
        axis.scatter(*found["seen"][index, :, :2].T, s=10, color="black", zorder=3, label="observed")
        axis.scatter(*ours[len(found["seen"][index]), :2], s=30, marker="|", color="#0072b2", zorder=3)
        spread = 1.1 * max(np.abs(whole[:, :2]).max(), np.abs(found["seen"][index, :, :2]).max())
        axis.set(xlim=(-spread, spread), ylim=(-spread, spread), aspect="equal")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, ncols=4, loc="outside upper center", frameon=False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("searches", nargs="+", help="search directories")
    parser.add_argument("--figures", type=Path, help="folder for the figures, one for each search")
    options = parser.parse_args()
    for folder in options.searches:
        finished = Finished(folder)
        print(f"{finished.paths.name}: {finished.took()}\n\n{markdown(best_table(finished))}\n")
        print(f"{markdown(baseline_table(finished))}\n")
        if len(set(finished.table.frame["deterministic"])) > 1:
            print(f"{markdown(by_kl(finished))}\n", flush=True)
        if options.figures:
            options.figures.mkdir(parents=True, exist_ok=True)
            draw_series(finished, options.figures / f"{finished.paths.name.replace('-', '_')}.png")


if __name__ == "__main__":
    main()
