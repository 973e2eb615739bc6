"""The learned Jacobian and the neural ODE after equal searches: winners trained with further seeds, and the table.

    swell run search_spaces/jacobian_ode_rivals_lorenz.yaml
    python -m benchmarks.jacobian_ode_rivals jacobian-ode-rivals-lorenz [SEARCH ...] [--seeds 5] [--results FILE]

Of each search, noise level and model the winner is the feasible trial with the least free-running error on validation
trajectories: noisy ones, as recordings are, or clean ones, which only generated data have. Each winner is trained with
`--seeds` seeds on the search's own data, and once on the data of each further data seed. A training is kept in the
results file, and not made again. The table has the mean over seeds, and the range; with one row for each selection.
"""

import argparse
import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from analysis.search import Search

SELECTIONS: Mapping[str, str] = {"noisy": "val_noisy_free_running_mse", "clean": "val_free_running_mse"}
"""The metric that each selection chooses by."""
MODELS: Mapping[str, str] = {"jacobian": "learned Jacobian", "neural_ode": "neural ODE"}
SHOWN = ("learning_rate", "hidden", "weight_decay", "smoothing", "base_point", "loop_weight")
"""Fields of a winner's row, where the search varies them."""
HEAD = (
    "noise",
    "selected on",
    "model",
    "feasible",
    "setting",
    "error of J, %",
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


def winners(search: "Search", selections: Sequence[str]) -> list[Winner]:
    """Return the winner of each noise level, selection and model of a search; none where no trial is feasible."""
    assert search.read_config is not None
    varied = {factor.column for factor in search.factors}
    groups: dict[tuple[float, str], list[dict[str, Any]]] = {}
    for trial in search.trials.to_dict("records"):
        if trial["outcome"] == "completed":
            groups.setdefault((float(trial["noise"]), str(trial["model"])), []).append(dict(trial))
    found = []
    for (noise, model), trials in sorted(groups.items()):
        feasible = [trial for trial in trials if trial["feasible"]]
        for selection in selections:
            if not feasible:
                print(f"{search.name}: at noise {noise:g} no {MODELS[model]} of {len(trials)} is feasible")
                continue
            best = min(feasible, key=lambda trial: float(trial[SELECTIONS[selection]]))
            told = [name for name in SHOWN if name in varied and _is_told(best[name])]
            setting = ", ".join(f"{name} {best[name]}" for name in told)
            fields = {**search.read_config(int(best["trial"])), "validation": selection}
            found.append(Winner(noise, selection, model, len(feasible), len(trials), setting, fields))
    return found


def _is_told(value: object) -> bool:
    return value is not None and value == value


def runs_of(winner: Winner, seeds: int) -> list[tuple[str, dict[str, Any]]]:
    """Return the trainings of a winner: seeds of its own data, and one on the data of each further seed."""
    own = [("seed", winner.fields | {"seed": seed, "data_seed": 0}) for seed in range(seeds)]
    return own + [("data", winner.fields | {"seed": seed, "data_seed": seed}) for seed in range(1, seeds)]


def trained(fields: dict[str, Any], programs: Any, data: Path) -> dict[str, float]:
    """Return what a training comes to; one that diverged has no metrics."""
    from trainables._shared.datasets import DatasetStore
    from trainables._shared.training import Training
    from trainables.jacobian_ode.config import Config
    from trainables.jacobian_ode.method import method

    config = Config.of_values(fields)
    training = Training(programs.get(method, config), config, method.data(config, DatasetStore(data)))
    while not (report := training.advance()).ending:
        pass
    return training.results().metrics if report.ending == "completed" else {}


def spread(values: Sequence[float], digits: str = ".3g") -> str:
    """Return mean and range; a training that diverged counts as infinite."""
    if not values:
        return ""
    if not all(map(math.isfinite, values)):
        return f"{sum(map(math.isfinite, values))} of {len(values)} finite"
    return f"{statistics.mean(values):{digits}} ({min(values):{digits}} to {max(values):{digits}})"


def row(winner: Winner, found: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    """Return a row of the table."""

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
        spread(values("test_frobenius_error_pct", "data")),
        spread(values("test_lyapunov_1"), ".2f") + (f" ({exact[0]:.2f})" if exact else ""),
        spread(values("test_free_lyapunov_1"), ".2f"),
        spread(values("val_free_running_mse"), ".2e"),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("searches", nargs="+", metavar="SEARCH")
    parser.add_argument("--seeds", type=int, default=5)
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
    for name in options.searches:
        rows = []
        for winner in winners(analysis.load(name), options.selection):
            if options.noise and winner.noise not in options.noise:
                continue
            found = []
            for kind, fields in runs_of(winner, options.seeds):
                key = json.dumps(fields, sort_keys=True)
                if key not in known:
                    known[key] = trained(fields, programs, options.results.parent / "jacobian_ode_rivals_data")
                    with options.results.open("a") as file:
                        file.write(json.dumps([fields, known[key]]) + "\n")
                found.append((kind, known[key]))
            rows.append(row(winner, found))
        print(f"\n{name}\n\n| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", *rows, sep="\n", flush=True)


if __name__ == "__main__":
    main()
