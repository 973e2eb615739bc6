"""The table of samplers: one row each with everything to know of it; a new sampler is a new row here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SamplerFacts:
    """What is to be known of a sampler."""

    sentence: str
    """What it is good for."""
    optuna_class: str = ""
    """Its name in `optuna.samplers`; empty for the grid, which is ours."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Its options but the seed: all that matter, as Optuna's defaults change between versions."""
    knows_constraints: bool = False
    """Whether it heeds constraints; otherwise they only decide the ranking."""
    knows_several_objectives: bool = True
    """Whether it can search for trade-offs."""
    is_made_for_trade_offs: bool = False
    """Whether it is the one to name first to whoever has several objectives."""
    only_ranges: bool = False
    """Whether it proposes values of unconditional ranges only, and draws all else at random."""
    needs_a_range: bool = False
    """Whether a space without an unconditional range leaves it nothing to do."""
    one_sequence: bool = False
    """Whether all trials are places in one sequence, seeded once; otherwise each trial has a seed of its own."""
    fits_on: int = 0
    """The most trials that it fits its model on, as its time grows with them; 0 for all."""
    package: str = ""
    """A package it needs beyond ours, by its import name."""
    package_name: str = ""
    """What people call that package."""

    @property
    def is_grid(self) -> bool:
        """Whether the sampler tries every combination, and the search ends with the last."""
        return not self.optuna_class


SAMPLERS: Mapping[str, SamplerFacts] = {
    "tpe": SamplerFacts(
        "a good default",
        "TPESampler",
        # multivariate with groups is Optuna's way for conditional spaces
        {"n_startup_trials": 10, "n_ei_candidates": 24, "multivariate": True, "group": True, "constant_liar": True},
        knows_constraints=True,
        fits_on=500,
    ),
    "gp": SamplerFacts(
        "few, costly trials",
        "GPSampler",
        {"n_startup_trials": 10, "deterministic_objective": False, "warn_independent_sampling": False},
        knows_constraints=True,
        package="torch",
        package_name="PyTorch",
    ),
    "cmaes": SamplerFacts(
        "many numbers",
        "CmaEsSampler",
        {"n_startup_trials": 1, "warn_independent_sampling": False},
        knows_several_objectives=False,
        only_ranges=True,
        needs_a_range=True,
    ),
    "nsga2": SamplerFacts(
        "several objectives",
        "NSGAIISampler",
        {"population_size": 50},
        knows_constraints=True,
        is_made_for_trade_offs=True,
    ),
    "qmc": SamplerFacts(
        "even cover",
        "QMCSampler",
        {
            "qmc_type": "sobol",
            "scramble": True,
            "warn_independent_sampling": False,
            "warn_asynchronous_seeding": False,
        },
        only_ranges=True,
        one_sequence=True,
    ),
    "random": SamplerFacts("even cover", "RandomSampler"),
    "grid": SamplerFacts("every combination"),
}
"""All samplers by the name that a spec gives."""


def samplers_for_trade_offs() -> list[str]:
    """Return the names of the samplers that can handle several objectives, the one made for that first."""
    names = [name for name, facts in SAMPLERS.items() if facts.knows_several_objectives]
    return sorted(names, key=lambda name: not SAMPLERS[name].is_made_for_trade_offs)


def describe_samplers() -> str:
    """Return a sentence that says of each sampler what it is good for."""
    names: dict[str, list[str]] = {}
    for name, facts in SAMPLERS.items():
        names.setdefault(facts.sentence, []).append(name)
    return "; ".join(f"{', '.join(found)}: {sentence}" for sentence, found in names.items()) + "."
