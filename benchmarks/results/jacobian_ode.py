"""Tables and figures of the jacobian_ode searches, for docs/jacobian_ode.md.

    python -m benchmarks.results.jacobian_ode searches/jacobian-ode-lorenz --figures docs/figures
    python -m benchmarks.results.jacobian_ode searches/jacobian-ode-vanderpol searches/jacobian-ode-lorenz96

For each search, noise level and model: the trial that the search would choose, which is the feasible one with the least
free-running error, and what it turns out to be on the test trajectories. With `--figures`, of the first search: the
error of J by noise, and the worst entries of J along a test trajectory at the largest noise (trained again where the
search has not kept that trial's checkpoint).
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

from benchmarks.results.finished import Finished, markdown, range_of
from trainables._shared.datasets import DatasetStore
from trainables._shared.saved import SavedModel
from trainables.jacobian_ode.method import TEST_SET
from trainables.jacobian_ode.systems import SYSTEMS

MODELS = {"jacobian": "learned Jacobian", "neural_ode": "neural ODE"}
COLORS = {"jacobian": "#0072b2", "neural_ode": "#d55e00", "lwlr": "#999999"}
SHOWN_SAMPLES = 300
MOST_WRONG = 3
"""Entries of J that are drawn: those with the largest errors."""
BEST = 3
"""Trials whose errors say how much the choice among near-equals matters."""


class Group(NamedTuple):
    """The completed trials of one model at one noise level."""

    noise: float
    model: str
    feasible: list[dict[str, Any]]
    """Least free-running error first: the first one is the choice."""
    infeasible: list[dict[str, Any]]

    def errors(self, *, feasible: bool) -> list[float]:
        """Return the errors of J on the test trajectories, in percent."""
        return [row["test_frobenius_error_pct"] for row in (self.feasible if feasible else self.infeasible)]

    @property
    def local_regression(self) -> float:
        """The error of J of local regression on the same data, in percent."""
        return (self.feasible or self.infeasible)[0]["test_lwlr_frobenius_error_pct"]


def groups(finished: Finished) -> list[Group]:
    """Return the trials by noise and model."""
    rows = sorted(finished.completed, key=lambda row: row["val_free_running_mse"])
    found = []
    for noise, model in sorted({(row["noise"], row["model"]) for row in rows}):
        of_both = [row for row in rows if (row["noise"], row["model"]) == (noise, model)]
        infeasible = [row for row in of_both if not row["feasible"]]
        found.append(Group(noise, model, [row for row in of_both if row["feasible"]], infeasible))
    return found


def chosen_table(finished: Finished) -> pd.DataFrame:
    """Return what the search would choose at each noise level, for each model."""
    rows = []
    for group in groups(finished):
        row: dict[str, Any] = {"noise": f"{100 * group.noise:g} %", "model": MODELS[group.model]}
        row["feasible"] = f"{len(group.feasible)} of {len(group.feasible) + len(group.infeasible)}"
        if group.feasible:
            best = group.feasible[0]
            row |= {
                "trial": best["trial"],
                "loop weight": best["loop_weight"] if group.model == "jacobian" and best["loop_closure"] else "",
                "free-running MSE": best["val_free_running_mse"],
                "error of J, %": best["test_frobenius_error_pct"],
                "of the best 3, %": range_of(group.errors(feasible=True)[:BEST]),
                "spectral error, %": best["test_spectral_error_pct"],
                "R^2": best["test_r2"],
                "Lyapunov 1 (exact)": f"{best['test_lyapunov_1']:.2f} ({best['test_lyapunov_1_exact']:.2f})",
                "error of the spectrum": best["test_lyapunov_error"],
                "free-running MSE at the end (persistence)": "{:.2g} ({:.2g})".format(*_errors_at_the_end(best)),
                "local regression, %": group.local_regression,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _errors_at_the_end(row: dict[str, Any]) -> tuple[float, float]:
    """Return a model's and persistence's free-running errors at the farthest horizon."""
    farthest = max(int(name.removeprefix("test_mse_")) for name in row if name.startswith("test_mse_"))
    return row[f"test_mse_{farthest}"], row[f"test_persistence_mse_{farthest}"]


def exact_jacobian(saved: SavedModel, z: Any) -> Float[np.ndarray, "samples n n"]:
    """Return the exact Jacobian at standardised states, in the data's units."""
    untrained = saved.model.untrained
    field = SYSTEMS[saved.config.system].field  # pyright: ignore[reportAttributeAccessIssue]
    return np.asarray(jax.vmap(jax.jacfwd(field))(untrained.mean + untrained.std * z))


def along_a_trajectory(
    saved: SavedModel,
) -> tuple[Float[np.ndarray, " samples"], Float[np.ndarray, "samples n n"], Any]:
    """Return times, the learned J along the first test trajectory in the data's units, and its standardised states."""
    data = saved.method.data(saved.config, DatasetStore())
    z = np.asarray(data.tests[TEST_SET]["test"].trajectories[0][:SHOWN_SAMPLES])
    times = np.arange(len(z)) * float(saved.model.untrained.dt)
    return times, np.asarray(saved.model.physical(saved.model.jacobian(jax.numpy.asarray(z)))), z


def draw_noise(finished: Finished, file: Path) -> None:
    """Draw the error of J by noise: every trial a point, those that the search would choose joined by a line."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    found = groups(finished)
    levels = sorted({group.noise for group in found})
    lines: dict[str, list[tuple[float, float]]] = {model: [] for model in MODELS}
    for group in found:
        place = levels.index(group.noise) + (-0.08 if group.model == "jacobian" else 0.08)
        color = COLORS[group.model]
        for feasible in (True, False):
            errors, face = group.errors(feasible=feasible), color if feasible else "none"
            axes.scatter([place] * len(errors), errors, s=14, facecolors=face, edgecolors=color, alpha=0.6)
        if group.feasible:
            lines[group.model].append((place, group.errors(feasible=True)[0]))
    for model, points in lines.items():
        x, y = [place for place, _ in points], [error for _, error in points]
        axes.plot(x, y, color=COLORS[model], marker="D", label=f"{MODELS[model]}, chosen")
    lwlr = {group.noise: group.local_regression for group in found}
    lwlr_errors = [lwlr[noise] for noise in levels]
    axes.plot(range(len(levels)), lwlr_errors, color=COLORS["lwlr"], ls=":", label="local regression")
    axes.scatter([], [], s=14, facecolors="none", edgecolors="black", label="not feasible")
    axes.set(xlabel="noise of the training data (%)", ylabel="error of J on test trajectories (%)", yscale="log")
    axes.set_xticks(range(len(levels)), [f"{100 * noise:g}" for noise in levels])
    axes.set_yticks([10, 20, 50, 100], ["10", "20", "50", "100"])
    axes.minorticks_off()
    axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.22), frameon=False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def draw_entries(finished: Finished, file: Path) -> None:
    """Draw the worst entries of J along a test trajectory at the largest noise: the chosen models', and the exact."""
    import matplotlib.pyplot as plt

    found = groups(finished)
    largest = max(group.noise for group in found)
    chosen = {
        group.model: finished.model(int(group.feasible[0]["trial"]))
        for group in found
        if group.noise == largest and group.feasible
    }
    learned = {model: along_a_trajectory(saved) for model, saved in chosen.items()}
    saved, (times, _, z) = next(iter(chosen.values())), next(iter(learned.values()))
    exact = exact_jacobian(saved, z)
    wrong = sum(np.sqrt(np.mean((J - exact) ** 2, 0)) for _, J, _ in learned.values())
    entries = np.argwhere(wrong >= np.sort(wrong, None)[-MOST_WRONG])
    figure, axes = plt.subplots(len(entries), 1, figsize=(7, 5.2), sharex=True, layout="constrained")
    for axis, (i, j) in zip(axes, entries, strict=True):
        axis.plot(times, exact[:, i, j], color="black", lw=2.5, alpha=0.35, label="exact")
        for model, (_, J, _) in learned.items():
            axis.plot(times, J[:, i, j], color=COLORS[model], lw=1.2, label=MODELS[model])
        axis.set_ylabel(f"J[{i + 1}, {j + 1}]")
    axes[-1].set_xlabel("time")
    axes[0].legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("searches", nargs="+", help="search directories")
    parser.add_argument("--figures", type=Path, help="folder for the figures of the first search")
    options = parser.parse_args()
    for folder in options.searches:
        finished = Finished(folder)
        print(f"{finished.paths.name}: {finished.took()}\n\n{markdown(chosen_table(finished))}\n", flush=True)
    if options.figures:
        options.figures.mkdir(parents=True, exist_ok=True)
        first = Finished(options.searches[0])
        draw_noise(first, options.figures / "jacobian_ode_noise.png")
        draw_entries(first, options.figures / "jacobian_ode_entries.png")


if __name__ == "__main__":
    main()
