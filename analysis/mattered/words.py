"""How numbers are said in the sentences of a comparison."""

from collections.abc import Sequence

import numpy as np

from cluster.wording import count


def number(value: float) -> str:
    """Return a number with three digits."""
    return f"{value:.3g}"


def p_text(p: float) -> str:
    """Return a p-value as papers print it: p = .012, p < .001."""
    if p < 0.001:
        return "p < .001"
    return f"p = {p:.2g}".replace("0.", ".") if p < 0.995 else "p = 1"


def interval(low: float, high: float) -> str:
    """Return an interval in brackets, after a space; nothing if it is not known."""
    return "" if np.isnan(low) or np.isnan(high) else f" ({number(low)} to {number(high)})"


def gap(by: float, low: float, high: float, *, is_ratio: bool) -> str:
    """Return by how much two levels differ, with the interval."""
    if is_ratio:
        return f"by a factor of {number(by)}{interval(low, high)}"
    return f"by {number(by)}{interval(low, high)}"


def too_few(num: int) -> str:
    """Return that so many results are too few."""
    return f"{count(num, 'result')} {'is' if num == 1 else 'are'} too few"


def listed(parts: Sequence[str], last: str = "and") -> str:
    """Return parts as a list in a sentence: a, b and c."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def percent(share: float) -> str:
    """Return a share in percent: 45 %, or 0.4 %."""
    return f"{100 * share:.2g} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"
