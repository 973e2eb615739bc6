"""What a search without repeats cannot tell, and the spec that would: its best levels, each with several seeds."""

from collections.abc import Mapping
from itertools import count as numbers_from
from typing import Any

import pandas as pd
import yaml

from analysis.mattered.comparable import Comparable, is_active
from analysis.mattered.levels import level_labels
from analysis.mattered.permutation import least_of_flips
from analysis.mattered.verdict import LEVEL
from analysis.search import Factor, Search
from search_spaces.parameters import NamedChoice, same

SEEDS = next(num for num in numbers_from(1) if least_of_flips(num) <= LEVEL)
"""The fewest seeds that can support a difference in one setting."""


def spec_lines(search: Search, factor: Factor, among: Comparable) -> str | None:
    """Return the lines of a spec that tries a factor's two best levels with enough seeds; None if there are not two.

    The other factors stay as in the best trial, or, if only the second level has one, as in that level's best.
    """
    units = among.feasible
    labels = level_labels(search, factor, units)
    first = units.assign(level=labels).dropna(subset="level").drop_duplicates("level").head(2)
    if len(first) < 2:
        return None
    best, second = (row for _, row in first.iterrows())
    held = best.where(best.notna(), second)  # what only the second level has
    held[factor.column] = second[factor.column]
    both = pd.DataFrame([best, held])
    chosen: dict[str, list[Any]] = {}
    for one in search.factors:
        tried = both.loc[is_active(search, one, both), one.column].tolist()
        if tried:
            chosen[one.column] = [_plain(one, value) for value in (tried if one is factor else tried[:1])]
    space = {_key(search, one): _parameter(search, one, chosen) for one in search.factors if one.column in chosen}
    lines = [f"  {_flow(name)}: {_flow(parameter)}" for name, parameter in space.items()]
    return "\n".join(["space:", *lines, "sampler: {name: grid}", f"repeats: {_flow({'seeds': list(range(SEEDS))})}"])


def without_repeats(search: Search, factor: Factor, among: Comparable) -> str:
    """Return what a search in which nothing was repeated cannot tell of a factor, and the lines that would tell it."""
    lines = spec_lines(search, factor, among)
    told = "whether a difference is larger than the spread over seeds cannot be told: no configuration was repeated"
    if lines is None:
        return told
    stops = search.spec is not None and search.spec.early_stopping.name != "none"
    stopping = " (without early_stopping)" if stops else ""
    return f"{told}; of the two best levels of {factor.column}, these lines of a spec{stopping} would tell it:\n{lines}"


def _key(search: Search, factor: Factor) -> str:
    """Return a factor's name in the spec."""
    if search.spec is not None and factor.column not in search.spec.space:
        return factor.column.removeprefix("config.")
    return factor.column


def _parameter(search: Search, factor: Factor, chosen: Mapping[str, list[Any]]) -> Any:
    """Return the parameter that searches the chosen values, under the conditions that some of the others break."""
    given = search.spec.space.get(_key(search, factor)) if search.spec is not None else None
    values: Any = chosen[factor.column]
    if isinstance(given, NamedChoice):
        values = {name: given.choices[name] for name in values}
    when = {}
    for column, wanted in factor.conditions.items():
        kept = [value for value in chosen.get(column, []) if any(same(value, one) for one in wanted)]
        if kept and len(kept) < len(chosen[column]):
            when[_key(search, search.factor(column))] = kept
    return {"choices": values, "when": when} if when else {"choices": values} if isinstance(values, dict) else values


def _plain(factor: Factor, value: Any) -> Any:
    """Return a value as the spec has it: a table may show 3 as 3.0, and null as NaN."""
    value = value.item() if hasattr(value, "item") else value
    if value != value:
        return None
    if factor.levels is not None:
        return next((level for level in factor.levels if same(level, value)), value)
    return int(value) if factor.is_whole else value


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n...\n").strip()
