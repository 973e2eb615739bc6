"""By how much trials break the constraints of their search."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.search import Bound
from analysis.tables.cells import numbers


def excess(trials: pd.DataFrame, constraints: Sequence[Bound]) -> pd.Series:
    """Return by how much each trial breaks its constraints in sum; infinite if a metric was not measured."""
    total = np.zeros(len(trials))
    for bound in constraints:
        values = numbers(trials, bound.column)
        over = np.zeros(len(trials))
        if bound.max is not None:
            over += np.maximum(values - bound.max, 0.0)
        if bound.min is not None:
            over += np.maximum(bound.min - values, 0.0)
        total += np.where(np.isnan(over), np.inf, over)
    return pd.Series(total, index=trials.index)
