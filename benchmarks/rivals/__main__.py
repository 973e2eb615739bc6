"""The same search by swell and its rivals in turn, start-up and compilation counted, as Markdown.

    python -m benchmarks.rivals [--rounds 1] [--trials 12] [--steps 300] [--only swell ray-fair] [--stopping asha none]

two_body, ten orbits, segments of 18 samples, quickstart's heads and activations, random configurations, the same for
all, two workers of one CPU. Ratios are medians over rounds of a contender's figure by swell's of the same round. "To
the last report" leaves out what comes after the trials, which for swell is its own report with figures.
"""

import argparse
import math
import statistics

from benchmarks.rivals.contenders import CONTENDERS, ContenderFailedError, compete
from benchmarks.rivals.measured import Measured

STOPPING = {"asha": True, "none": False}


def table(rounds: list[dict[str, Measured]], error: float) -> str:
    """Return a row for each contender: medians over the rounds, and ratios to swell's of the same round."""
    lines = [
        "| contender | wall s | of swell's | core-s | of swell's | to the last report: s | core-s | of swell's "
        "| trials/h | trial-steps/s | trial-steps "
        f"| core-s to {error:g} % | best error, % | peak MB | files left |",
        "|" + "---|" * 15,
    ]
    for key in rounds[0]:
        mine = [found[key] for found in rounds if key in found]
        swells = [found["swell"] for found in rounds if key in found and "swell" in found]
        pairs = list(zip(mine, swells, strict=False))
        wall = _median([one.seconds / ours.seconds for one, ours in pairs])
        core = _median([one.core_s / ours.core_s for one, ours in pairs])
        last = _median([one.seen[-1].core_s / ours.seen[-1].core_s for one, ours in pairs])
        to_error = [one.core_s_to(error) for one in mine]
        reached = [value for value in to_error if value is not None]
        lines.append(
            f"| {CONTENDERS[key].name} | {_median([one.seconds for one in mine]):.0f} | {wall:.2f} "
            f"| {_median([one.core_s for one in mine]):.0f} | {core:.2f} "
            f"| {_median([one.seen[-1].seconds for one in mine]):.0f} "
            f"| {_median([one.seen[-1].core_s for one in mine]):.0f} | {last:.2f} "
            f"| {_median([3600 * one.trials / one.seconds for one in mine]):.0f} "
            f"| {_median([one.steps / one.seconds for one in mine]):.1f} | {_median([one.steps for one in mine]):.0f} "
            f"| {f'{_median(reached):.0f}' if len(reached) == len(to_error) else 'not reached'} "
            f"| {_median([one.best for one in mine]):.1f} "
            f"| {_median([one.peak_mb for one in mine]):.0f} | {_median([one.files for one in mine]):.0f} |"
        )
    return "\n".join(lines)


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else math.nan


def main() -> None:
    """Let all take their turns and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--stopping", nargs="+", choices=STOPPING, default=list(STOPPING))
    parser.add_argument("--error", type=float, default=6.0, help="percent, of core-seconds to an error")
    options = parser.parse_args()
    notes = []
    taking_part = []
    for key in options.only:
        if CONTENDERS[key].is_missing:
            notes.append(f"{CONTENDERS[key].name} did not take part: {CONTENDERS[key].needs} is not installed.")
        else:
            taking_part.append(key)
    for name in options.stopping:
        rounds: list[dict[str, Measured]] = []
        for turn in range(options.rounds):
            # Others go first in the next round: what else the machine does shall not always meet the same one.
            order = taking_part[turn % len(taking_part) :] + taking_part[: turn % len(taking_part)]
            found: dict[str, Measured] = {}
            for key in order:
                try:
                    found[key] = compete(key, options.trials, options.steps, stops_early=STOPPING[name])
                except ContenderFailedError as error:
                    notes.append(f"A run failed: {error}")
            rounds.append({key: found[key] for key in taking_part if key in found})
        print(f"{options.trials} trials of {options.steps} steps, early stopping: {name}, rounds: {options.rounds}\n")
        print(table(rounds, options.error) + "\n", flush=True)
    print("\n".join(notes))


if __name__ == "__main__":
    main()
