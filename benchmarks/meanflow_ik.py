"""MeanFlow inverse kinematics: the objectives beside each other, and the error against training time, extrapolated.

    python -m benchmarks.meanflow_ik [--preset panda] [--set width=256 blocks=3 batch_size=512]
        [--objectives meanflow improved flow_matching] [--steps 1000 2000 4000 | --seconds 30 120] [--seeds 1]
        [--results FILE]

Each objective is trained for each length, from the start and with its whole schedule: the middle of a longer training
has another learning rate, and says little about a shorter one. A length is a number of steps, or as many steps as take
so many seconds, as a few of them say beforehand. `--set` changes other fields than those that these options say; a
warm-up is at most a quarter of the fewest steps. Every training is in the results file once it is done, not made again.
The seconds are of the processor, of training and validation without compilation. The line through log(error)
against log(seconds) is extrapolated to the published errors, which were reached on GPUs.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.settings import add_set, config_of, tells_mistakes, values_of
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import ProgramCache
from trainables._shared.training import Training
from trainables.meanflow_ik.config import Config
from trainables.meanflow_ik.method import method
from trainables.meanflow_ik.metric_names import POLISHED

PUBLISHED_MM = {"IKFlow": 7.7, "GraphDiff-IK": 3.5, "ViIK": 3.0}
"""Mean position errors on the Panda, after training on GPUs."""
STEPS_OF = {"flow_matching": (1, 2, 5, 20)}
"""Sampling steps of an objective's test poses, where the default's are too few."""
HEAD = (
    "objective", "steps", "seed", "training s", "sampling steps", "median mm", "mean mm", "median deg", "success %",
    "beyond limits %", "best of 8, mm", "spread deg", "polished: reached %", "spread deg", "random polished: reached %",
    "spread deg",
)  # fmt: skip
PACE_STEPS = 20
"""Steps that say how long one takes."""


def trained(config: Config, programs: ProgramCache, seconds: float | None = None) -> dict[str, Any]:
    """Train a config to its end; return its metrics on the test poses, and the seconds of the processor it took.

    With `seconds`, as many steps as take about so long, in hundreds and at least one of them, with five reports.
    """
    data = method.data(config, DatasetStore())
    # Some steps of a training of the same program, so that it is compiled, and how long they take afterwards.
    first = config.model_copy(update={"steps": config.warmup_steps + 3 * PACE_STEPS, "report_every": PACE_STEPS})
    ahead = Training(programs.get(method, first), first, data)
    ahead.advance()
    if seconds is not None:
        times = [time.process_time()]
        for _ in range(2):
            ahead.advance()
            times.append(time.process_time())
        steps = steps_within(seconds, float(np.diff(times).min()) / PACE_STEPS)
        config = Config.of_values(
            {**config.model_dump(mode="json"), "steps": steps, "report_every": max(1, steps // 5)}
        )
    training = Training(programs.get(method, config), config, data)
    curve, began = [], time.process_time()
    while True:
        report = training.advance()
        spent = time.process_time() - began
        curve.append({"step": report.step, "seconds": spent, **report.metrics})
        if report.ending:
            break
    tests = training.test() if report.ending == "completed" else {}
    metrics = {name: value for result in tests.values() for name, value in result.metrics.items()}
    return {"ending": report.ending, "steps": config.steps, "seconds": spent, "metrics": metrics, "curve": curve}


def steps_within(seconds: float, each: float) -> int:
    """Return how many steps, of so many seconds each, take about so long: in hundreds, and at least one of them."""
    return max(100, 100 * round(seconds / each / 100))


def power_law(seconds: Sequence[float], errors: Sequence[float]) -> tuple[float, float]:
    """Return a and b of error = a seconds^-b, by least squares in logarithms; at least two points."""
    slope, offset = np.polyfit(np.log(seconds), np.log(errors), 1)
    return float(np.exp(offset)), float(-slope)


def seconds_to(error: float, law: tuple[float, float]) -> float:
    """Return the seconds after which a law has an error; infinite if it does not fall."""
    a, b = law
    return float((a / error) ** (1 / b)) if b > 0 else float("inf")


def _when(seconds: float) -> str:
    if not np.isfinite(seconds) or seconds > 1e9:
        return "not within 30 years"
    unit, size = next((u, s) for u, s in (("days", 86400), ("hours", 3600), ("minutes", 60)) if seconds >= s or s == 60)
    return f"after {seconds / size:.3g} {unit}"


def rows(results: Mapping[str, Any]) -> list[list[str]]:
    """Return the table's rows: one for each training and number of sampling steps."""
    found = []
    for one in results.values():
        metrics = one["metrics"]
        head = [one["objective"], str(one["steps"]), str(one["seed"]), f"{one['seconds']:.0f}"]
        for num in one["test_steps"]:
            start = f"test_{num}_step_"
            if f"{start}success_pct" not in metrics:
                found.append([*head, str(num), one["ending"]])
                continue
            names = ("median_position_error_mm", "mean_position_error_mm", "median_rotation_error_deg", "success_pct")
            names = (*names, "limit_violation_pct", "best_of_8_median_position_error_mm", "spread_deg")
            shown = [f"{metrics[start + name]:.3g}" for name in names]
            figures = [f"test_{name}_{kind}" for name in POLISHED for kind in ("reached_pct", "spread_deg")]
            polished = [f"{metrics[name]:.3g}" for name in figures]
            found.append([*head, str(num), *shown, *polished])
    return found


def extrapolated(results: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each objective and number of sampling steps with trainings of several lengths."""
    found = []
    for objective in dict.fromkeys(one["objective"] for one in results.values()):
        ours = [one for one in results.values() if one["objective"] == objective and one["metrics"]]
        for num in ours[0]["test_steps"] if ours else ():
            for kind in ("median", "mean"):
                name = f"test_{num}_step_{kind}_position_error_mm"
                points = [(one["seconds"], one["metrics"][name]) for one in ours]
                if len({one["steps"] for one in ours}) < 2:  # seconds differ from seed to seed, too
                    continue
                law = power_law(*zip(*points, strict=True))
                ahead = [f"{mm:g} mm ({who}) {_when(seconds_to(mm, law))}" for who, mm in PUBLISHED_MM.items()]
                found.append(
                    f"{objective}, sampling steps {num}, {kind}: {law[0]:.4g} mm * seconds^-{law[1]:.3g}; "
                    + (", ".join(ahead) if kind == "mean" else f"40 mm {_when(seconds_to(40.0, law))}")
                )
    return found


def report(results: Mapping[str, Any]) -> str:
    """Return the table and the extrapolations as Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join([*row, *[""] * (len(HEAD) - len(row))]) + " |" for row in rows(results)]
    return "\n".join([*lines, "", *[f"- {sentence}" for sentence in extrapolated(results)]])


SAID_BY = {
    **dict.fromkeys(("steps", "report_every"), "--steps or --seconds"),
    "objective": "--objectives",
    "seed": "--seeds",
    **dict.fromkeys(("test_steps", "sampling_steps"), "--objectives"),
}
"""Fields that each training has from another option than `--set`, and that option."""


@tells_mistakes
def main() -> None:
    """Train what the results file does not hold, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=list(Config.presets), default="panda")
    add_set(parser, "the preset's")
    parser.add_argument("--objectives", nargs="+", default=["meanflow", "improved", "flow_matching"])
    lengths = parser.add_mutually_exclusive_group()
    lengths.add_argument("--steps", nargs="+", type=int, default=[1000, 2000, 4000])
    lengths.add_argument("--seconds", nargs="+", type=float, help="trainings of about so many seconds of the processor")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path("meanflow_ik.json"))
    given = parser.parse_args()
    results: dict[str, Any] = json.loads(given.results.read_text()) if given.results.exists() else {}
    programs = ProgramCache()
    base = {**Config.presets[given.preset], **values_of(given.set, elsewhere=SAID_BY)}
    config_of(Config, base)
    for length in given.seconds or given.steps:
        for objective in given.objectives:
            for seed in range(given.seeds):
                values = {**base, "objective": objective, "seed": seed}
                if given.seconds is None:
                    values |= {"steps": length, "report_every": max(1, length // 4)}
                    # The same for all lengths, which share a program.
                    values["warmup_steps"] = min(base["warmup_steps"], min(given.steps) // 4)
                values["test_steps"] = list(STEPS_OF.get(objective, (1, 2, 5)))
                values["sampling_steps"] = max(values["test_steps"]) if objective == "flow_matching" else 1
                config = config_of(Config, values)
                key = json.dumps({**values, "seconds": length} if given.seconds else values, sort_keys=True)
                if key not in results:
                    results[key] = {
                        "objective": objective, "seed": seed, "test_steps": values["test_steps"],
                        **trained(config, programs, length if given.seconds else None),
                    }  # fmt: skip
                    given.results.write_text(json.dumps(results, indent=1))
                    said = f"{objective}, {results[key]['steps']} steps, seed {seed}: {results[key]['seconds']:.0f} s"
                    print(said, flush=True)
    print(report(results))


if __name__ == "__main__":
    main()
