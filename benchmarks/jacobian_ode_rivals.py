"""The learned Jacobian and the neural ODE after equal searches: winners trained with further seeds, and the table.

    swell run search_spaces/jacobian_ode_rivals_lorenz.yaml
    python -m benchmarks.jacobian_ode_rivals jacobian-ode-rivals-lorenz [SEARCH ...] [--seeds 5] [--data-seeds 4]

Of each search (`--together`: of all of them), noise level and model (of the learned Jacobian also each anchor, if the
search varies it) the winner is the feasible trial with the least free-running error on validation trajectories: noisy
ones, as recordings are, or clean ones, which only generated data have. Each winner is trained with `--seeds` seeds on
the search's own data, and once on the data of each further data seed. A training is kept in the results file, and not
made again; the Jacobians that it learned are kept beside. The table has the mean over seeds, and the range, and the
error of the mean of the seeds' Jacobians; with one row for each selection.
"""

import argparse
import hashlib
import json
import math
import os
import statistics
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.settings import tells_mistakes

if TYPE_CHECKING:
    from analysis.search import Search

SELECTIONS: Mapping[str, str] = {"noisy": "val_noisy_free_running_mse", "clean": "val_free_running_mse"}
"""The metric that each selection chooses by."""
MODELS: Mapping[str, str] = {
    "jacobian": "learned Jacobian",
    "neural_ode": "neural ODE",
    "window": "learned J, field of each window",
    "learned": "learned J, field at one anchor",
}
"""What is compared; where a search varies the anchor of the learned Jacobian, either is a model of its own."""
SHOWN = ("learning_rate", "hidden", "weight_decay", "smoothing", "base_point", "loop_weight", "pair_weight")
"""Fields of a winner's row, where the search varies them."""
HEAD = (
    "noise",
    "selected on",
    "model",
    "feasible",
    "setting",
    "error of J, %",
    "of the mean J, %",
    "on other data, %",
    "Lyapunov 1 (exact)",
    "along free runs",
    "free-running MSE",
)


class Winner(NamedTuple):
    """What a search would hand out for one noise level and model."""

    noise: float
    selection: str
    model: str
    feasible: int
    of: int
    setting: str
    fields: dict[str, Any]


def winners(searches: Sequence["Search"], selections: Sequence[str]) -> list[Winner]:
    """Return the winner of each noise level, selection and model of searches together; none if no trial is feasible."""
    varied = {factor.column for search in searches for factor in search.factors}
    groups: dict[tuple[float, str], list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for search in searches:
        assert search.read_config is not None
        for trial in search.trials.to_dict("records"):
            if trial["outcome"] == "completed":
                fields = dict(search.read_config(int(trial["trial"])))
                groups.setdefault((float(trial["noise"]), _model(trial, varied)), []).append((dict(trial), fields))
    shown = [name for name in SHOWN if _differs(name, [fields for group in groups.values() for _, fields in group])]
    found = []
    for (noise, model), trials in sorted(groups.items()):
        feasible = [(trial, fields) for trial, fields in trials if trial["feasible"]]
        for selection in selections:
            if not feasible:
                names = ", ".join(search.name for search in searches)
                print(f"{names}: at noise {noise:g} no {MODELS[model]} of {len(trials)} is feasible")
                continue
            _, fields = min(feasible, key=lambda one: float(one[0][SELECTIONS[selection]]))
            setting = ", ".join(f"{name} {_told(fields[name])}" for name in shown if fields.get(name) is not None)
            own = {**fields, "validation": selection}
            found.append(Winner(noise, selection, model, len(feasible), len(trials), setting, own))
    return found


def _model(trial: Mapping[str, Any], varied: Collection[str]) -> str:
    model = str(trial["model"])
    return str(trial["anchor"]) if model == "jacobian" and "anchor" in varied else model


def _differs(name: str, configs: Sequence[Mapping[str, Any]]) -> bool:
    return len({json.dumps(fields.get(name)) for fields in configs}) > 1


def _told(value: object) -> str:
    return " x ".join(map(str, value)) if isinstance(value, list | tuple) else f"{value}"


def runs_of(winner: Winner, seeds: int, data_seeds: int | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Return the trainings of a winner: seeds of its own data, and one on the data of each further seed."""
    further = seeds - 1 if data_seeds is None else data_seeds
    own = [("seed", winner.fields | {"seed": seed, "data_seed": 0}) for seed in range(seeds)]
    return own + [("data", winner.fields | {"seed": seed, "data_seed": seed}) for seed in range(1, further + 1)]


def trained(fields: dict[str, Any], programs: Any, data: Path, kept: Path) -> dict[str, float]:
    """Return what a training comes to, and keep its J at the test states; one that diverged has no metrics."""
    from trainables._shared.datasets import DatasetStore
    from trainables._shared.training import Training
    from trainables.jacobian_ode.config import Config
    from trainables.jacobian_ode.method import TEST_SET, method

    config = Config.of_values(fields)
    given = method.data(config, DatasetStore(data))
    training = Training(programs.get(method, config), config, given)
    while not (report := training.advance()).ending:
        pass
    if report.ending != "completed":
        return {}
    assert training.best is not None
    arrays: dict[str, Any] = {**jacobians(config, training.best.params, given.tests[TEST_SET])}
    np.savez(kept, **arrays)
    return training.results().metrics


def jacobians(config: Any, model: Any, test: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the learned and the exact J at the test states, (trajectories, states, n, n), in the data's units."""
    import jax
    import jax.numpy as jnp

    model = jax.tree.map(jnp.asarray, model).in_units(*map(jnp.asarray, test["scaling"]))
    z = jnp.asarray(test["test"].states)
    x = (model.untrained.mean + model.untrained.std * z).reshape(-1, z.shape[-1])
    exact = jax.vmap(jax.jacfwd(config.known_system.field))(x).reshape(*z.shape, z.shape[-1])
    return {"learned": np.asarray(model.physical(model.jacobian(z))), "exact": np.asarray(exact)}


def error_of_mean(found: Sequence[Mapping[str, np.ndarray]]) -> float:
    """Return the error, in percent, of the mean of several trainings' J at the same states."""
    from trainables.jacobian_ode.metrics import jacobian_errors

    mean = np.mean([one["learned"] for one in found], 0)
    return jacobian_errors(found[0]["exact"], mean)["frobenius_error_pct"]


def spread(values: Sequence[float], digits: str = ".3g") -> str:
    """Return mean and range; a training that diverged counts as infinite."""
    if not values:
        return ""
    if not all(map(math.isfinite, values)):
        return f"{sum(map(math.isfinite, values))} of {len(values)} finite"
    return f"{statistics.mean(values):{digits}} ({min(values):{digits}} to {max(values):{digits}})"


def row(winner: Winner, found: Sequence[tuple[str, Mapping[str, float]]], of_mean: float) -> str:
    """Return a row of the table; `of_mean` is the error of the seeds' mean J, in percent."""

    def values(metric: str, kind: str = "seed") -> list[float]:
        return [metrics.get(metric, math.inf) for of, metrics in found if of == kind]

    exact = values("test_lyapunov_1_exact")
    cells = [
        f"{100 * winner.noise:g} %",
        f"{winner.selection} validation",
        MODELS[winner.model],
        f"{winner.feasible} of {winner.of}",
        winner.setting,
        spread(values("test_frobenius_error_pct")),
        f"{of_mean:.3g}" if math.isfinite(of_mean) else "",
        spread(values("test_frobenius_error_pct", "data")),
        spread(values("test_lyapunov_1"), ".2f") + (f" ({exact[0]:.2f})" if exact else ""),
        spread(values("test_free_lyapunov_1"), ".2f"),
        spread(values("val_free_running_mse"), ".2e"),
    ]
    return f"| {' | '.join(cells)} |"


@tells_mistakes
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("searches", nargs="+", metavar="SEARCH")
    parser.add_argument(
        "--together", action="store_true", help="one winner of all searches, of one system, for each row"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data-seeds", type=int, help="further data seeds; one less than seeds unless it is said")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no training after these")
    parser.add_argument("--noise", type=float, nargs="+", help="these levels alone")
    parser.add_argument("--selection", nargs="+", choices=SELECTIONS, default=list(SELECTIONS))
    parser.add_argument("--results", type=Path, default=Path("jacobian_ode_rivals.jsonl"))
    options = parser.parse_args()
    os.environ |= {"PJRT_NPROC": "1", "OMP_NUM_THREADS": "1"}  # before JAX is imported
    import analysis
    from trainables._shared.program import ProgramCache

    lines = options.results.read_text().splitlines() if options.results.exists() else []
    known = {json.dumps(fields, sort_keys=True): metrics for fields, metrics in map(json.loads, lines)}
    programs = ProgramCache()
    searches = {name: analysis.load(name) for name in options.searches}
    folder = options.results.parent / "jacobian_ode_rivals_data"
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    for names in [options.searches] if options.together else [[name] for name in options.searches]:
        name = ", ".join(names)
        rows, missing = [], 0
        for winner in winners([searches[one] for one in names], options.selection):
            if options.noise and winner.noise not in options.noise:
                continue
            found, matrices = [], []
            for kind, fields in runs_of(winner, options.seeds, options.data_seeds):
                key = json.dumps(fields, sort_keys=True)
                kept = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
                if key not in known and time.monotonic() > end:
                    missing += 1
                    continue
                if key not in known:
                    known[key] = trained(fields, programs, folder, kept)
                    with options.results.open("a") as file:
                        file.write(json.dumps([fields, known[key]]) + "\n")
                found.append((kind, known[key]))
                if kind == "seed" and kept.exists():
                    with np.load(kept) as arrays:
                        matrices.append(dict(arrays))
            rows.append(row(winner, found, error_of_mean(matrices) if matrices else math.nan))
        if missing:
            print(f"{name}: {missing} trainings are still to be made: the same command goes on with them")
        print(f"\n{name}\n\n| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", *rows, sep="\n", flush=True)


if __name__ == "__main__":
    main()
