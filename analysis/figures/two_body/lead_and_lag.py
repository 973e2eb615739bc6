"""How far propagated orbits run ahead of the true ones, or behind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.models import pictures
from analysis.drawing.style import GREY, color
from analysis.figures.two_body._errors import lead_deg
from analysis.search import Search

TITLE = "Lead and lag in phase"
SENTENCE = (
    "By how many degrees the propagated test orbits are ahead of the true ones (above zero) or behind: the median over "
    "orbits, with bands from the 10th to the 90th percentile, against the share of the orbit. Lost orbits are left out "
    "from there on."
)


@dataclass(frozen=True)
class LeadAndLag:
    """Leads by trial and sample."""

    leads: pd.DataFrame
    """trial, share (of the orbit's samples, in percent), p10, p50, p90 (degrees), num (orbits that are not lost)."""
    remark: str

    def table(self) -> pd.DataFrame:
        """Return the leads."""
        return self.leads


def info(search: Search, trials: Sequence[int] | None = None) -> LeadAndLag:
    """Return the leads of propagated orbits, for trials whose models are kept."""
    found, remark = pictures(search, trials, "orbits")
    return leads(found, remark)


def leads(found: Mapping[int, Mapping[str, np.ndarray]], remark: str = "") -> LeadAndLag:
    """Return the percentiles of the leads."""
    rows = []
    for number, one in found.items():
        lead = lead_deg(one)
        for place, column in enumerate(lead.T):
            there = column[np.isfinite(column)]
            low, middle, high = np.percentile(there, [10, 50, 90]) if len(there) else (np.nan,) * 3
            share = 100 * place / lead.shape[1]
            rows.append({"trial": number, "share": share, "p10": low, "p50": middle, "p90": high, "num": len(there)})
    return LeadAndLag(pd.DataFrame(rows), remark)


def draw(data: LeadAndLag, axes: Any) -> None:
    """Draw the leads."""
    for place, (number, part) in enumerate(data.leads.groupby("trial", sort=False)):
        lost = int(part["num"].iloc[0] - part["num"].iloc[-1])
        label = f"trial {number}" + (f" ({lost} orbits lost)" if lost else "")
        axes.plot(part["share"], part["p50"], color=color(place), label=label)
        axes.fill_between(part["share"], part["p10"], part["p90"], color=color(place), alpha=0.18, linewidth=0)
    axes.axhline(0, color=GREY, linewidth=0.9)
    most = np.nanmax(np.abs(data.leads[["p10", "p90"]].to_numpy())) if len(data.leads) else 0.0
    if most > 20:
        axes.set_yscale("symlog", linthresh=5)
    axes.set(xlabel="share of the orbit (%)", ylabel="ahead of the true orbit (deg)", title=data.remark)
    axes.legend(loc="upper left")
