"""How arrays from outside become numbers: one policy for every method, and for methods of the user's own.

Values are real numbers of any size and byte order, made to float64; whatever varies in them must survive float32, in
which models are trained. Masks are booleans or zeros and ones. What has no clear meaning is refused by name (raises
ConfigError); what can be used but is seldom meant is counted, and noted as a warning of the source.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from trainables._shared.data_files import Source

LARGEST = 1e30
"""Of a value, and of what it varies by: a larger one leaves float32 in a sum of squares."""
SMALLEST = 1e-30
"""Of what a value varies by: less leaves float32."""
EVEN = 2e-3
"""Largest deviation of a gap between two samples from the mean gap, over the mean gap."""
FEW_LEVELS = 20
"""A component whose spread is so few steps of what its numbers resolve is hardly resolved."""
TAIL = 0.05
"""Share of the values on each side that may be outliers."""
FAR = 10.0
"""Outliers are farther from the others than so many times their whole range."""
SETS_SCALE = 3.0
"""Outliers set the scale if the standard deviation with them is so many times that without."""
OFF_CENTRE = 1e5
"""A mean of more spreads is subtracted in float64: rounded to float32 it would no longer be the centre."""

_REFUSED = {
    "c": ": there is no place for the imaginary part",
    "M": ": say since when, and in which unit, as (t - t[0]) / np.timedelta64(1, 's')",
    "m": ": divide it by its unit, as t / np.timedelta64(1, 's')",
}
"""What more there is to say of an array that is not of real numbers, by its kind."""


def real_numbers(source: Source, name: str, array: np.ndarray) -> Float64[np.ndarray, "..."]:
    """Return an array of real numbers in float64; NaN and infinite ones stay.

    Raises ConfigError if it is of another kind (complex, dates, booleans, text, objects), or has values that float64
    does not hold.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "fiu":
        why = f"its {name} is of {array.dtype}{_REFUSED.get(array.dtype.kind, '')}"
        raise source.error(why, "real numbers (floats or integers)")
    with np.errstate(over="ignore"):
        values = np.asarray(array, np.float64)
    if array.dtype.itemsize > values.dtype.itemsize and (num := int((np.isinf(values) & np.isfinite(array)).sum())):
        raise source.error(f"{num} values of its {name} ({array.dtype}) are beyond float64", "values of float64")
    return values


def elapsed(
    source: Source, name: str, array: np.ndarray, there: Bool[np.ndarray, "..."] | None = None
) -> Float64[np.ndarray, "..."]:
    """Return times in float64, whose differences are those of the array.

    Integers that float64 does not hold, such as nanoseconds since 1970, count from the first of those that are
    `there`. Raises ConfigError as `real_numbers` does.
    """
    array = np.asarray(array)
    kept = array if there is None else array[there]
    if array.dtype.kind in "iu" and kept.size and max(abs(int(kept.min())), abs(int(kept.max()))) > 2**53:
        # Modulo 2**64 the difference of unsigned numbers is exact, whatever the signs were.
        array = array.astype(np.uint64) - np.asarray(kept.min()).astype(np.uint64)
    return real_numbers(source, name, array)


def truth(source: Source, name: str, array: np.ndarray) -> Bool[np.ndarray, "..."]:
    """Return a mask of booleans, or of numbers that are 0 or 1; raises ConfigError if it holds anything else."""
    array = np.asarray(array)
    if array.dtype.kind == "b":
        return array
    allowed = "booleans, or numbers 0 (no sample) and 1"
    if array.dtype.kind not in "fiu":
        raise source.error(f"its {name} is of {array.dtype}", allowed)
    if num := int(((array != 0) & (array != 1)).sum()):
        other = array[(array != 0) & (array != 1)][0]
        raise source.error(f"{num} values of its {name} are neither 0 nor 1, such as {other:g}", allowed)
    return array == 1


def resolution(array: np.ndarray) -> float:
    """Return what an array's own type resolves, relative to its values; 0 for integers, which are exact."""
    if array.dtype.kind != "f":
        return 0.0
    return max(float(np.finfo(array.dtype).eps), float(np.finfo(np.float64).eps))


def even_step(
    source: Source,
    times: Sequence[Float64[np.ndarray, " samples"]],
    grain: float,
    place: Callable[[int], str] | None = None,
) -> float:
    """Return the time between two samples of trajectories: their whole span over their number of gaps.

    `grain` is what the times resolve, relative to them (`resolution`): by so much two gaps may differ in any case. Of a
    single trajectory, `place` says of a sample's number, from 0, where in the file it is (the line and the column).
    Raises ConfigError if times do not increase, or a gap deviates from the mean by more than 0.2 %.
    """
    num_gaps = sum(len(t) - 1 for t in times)
    for index, t in enumerate(times):
        if len(bad := np.flatnonzero(np.diff(t) <= 0)):
            first = int(bad[0])
            where = place(first + 1) if place else f"sample {first + 2} of trajectory {index + 1} of {len(times)}"
            why = (
                f"{len(bad)} times are not later than the one before, first at {where}: {t[first + 1]:.12g} after "
                f"{t[first]:.12g}"
            )
            raise source.error(why, "times that increase by the same step everywhere")
    dt = sum(float(t[-1] - t[0]) for t in times) / num_gaps
    rounded = 2 * grain * max(float(np.abs(t).max()) for t in times)
    if rounded > dt / 4:
        why = f"its times resolve {rounded / 2:.3g}, and its samples are {dt:.3g} apart"
        raise source.error(why, "times counted from the first sample, or in float64")
    for index, t in enumerate(times):
        off = np.abs(np.diff(t) - dt)
        if (off > EVEN * dt + rounded).any():
            worst = int(off.argmax())
            gap = f"{t[worst + 1] - t[worst]:.6g}"
            why = (
                f"trajectory {index + 1} of {len(times)} is not sampled every {dt:.6g}, the mean gap of all: samples "
                f"{worst + 1} and {worst + 2} are {gap} apart"
            )
            if place:
                why = f"is not sampled every {dt:.6g}, its mean gap: {place(worst + 1)} is {gap} after the one before"
            raise source.error(why, f"gaps that differ from the mean by at most {100 * EVEN:g} %")
    return dt


def require_scale(source: Source, what: str, size: float) -> None:
    """Raise ConfigError if a positive size is one that float32 cannot hold; `what` is the sentence up to it."""
    if not SMALLEST <= size <= LARGEST:
        why = f"{what} {size:.3g}, which float32, in which models are trained, does not hold"
        raise source.error(why, f"another unit, in which it is {SMALLEST:g} to {LARGEST:g}")


class Columns(NamedTuple):
    """What the values of a data set are like, component by component."""

    constant: Bool[np.ndarray, " components"]
    """Whether it never changes, but for rounding."""
    center: Float64[np.ndarray, " components"]
    spread: Float64[np.ndarray, " components"]
    """Standard deviation."""


def look_at_columns(
    source: Source,
    what: str,
    values: Float64[np.ndarray, "samples components"],
    starts: Int[np.ndarray, " series"],
    *,
    grain: float,
    names: Sequence[str] = (),
    series: str = "series",
    rows: Int[np.ndarray, " series"] | None = None,
) -> Columns:
    """Return what finite values of series, end to end, are like; note what is odd about a component as a warning.

    A component may be constant in some series or in all, hardly resolved by its numbers, vary far less within series
    than between them, or have its scale set by a few outliers. `starts` are the first samples of the series, `rows`
    their numbers in the file from 0 (if it has others too), `grain` what the values' own type resolves, relative to
    them. Raises ConfigError if values, or what they vary by, leave float32.
    """
    rows = np.arange(len(starts)) if rows is None else rows
    largest = np.abs(values).max(0, initial=0.0)
    label = [f"component {k + 1} of {what}{f' ({names[k]})' if names else ''}" for k in range(values.shape[1])]
    if (largest > LARGEST).any():
        k = int(np.argmax(largest > LARGEST))
        num = int((np.abs(values[:, k]) > LARGEST).sum())
        why = f"{label[k]} goes up to {largest[k]:g} ({num} of {len(values)} values are beyond {LARGEST:g})"
        raise source.error(why, f"at most {LARGEST:g}, in another unit; marks of missing samples are none")
    low, high = values.min(0), values.max(0)
    whole = high - low
    constant = whole <= 4 * np.finfo(np.float64).eps * largest
    for k in np.flatnonzero(~constant):
        require_scale(source, f"{label[k]} varies by", float(whole[k]))
    scale = np.where(whole > 0, whole, 1.0)  # squares of 1e-200 would vanish even in float64
    center = low + scale * ((values - low) / scale).mean(0)
    spread = scale * ((values - low) / scale).std(0)
    ranges = np.maximum.reduceat(values, starts, axis=0) - np.minimum.reduceat(values, starts, axis=0)
    for k in range(values.shape[1]):
        if constant[k]:
            continue
        still = rows[ranges[:, k] <= 4 * np.finfo(np.float64).eps * largest[k]]
        if len(still):
            which = f"{len(still)} of {len(rows)} {plural(series)}: {series} {numbered(still)}"
            source.warn(f"{label[k]} does not change in {which}")
        within = float(np.sqrt(np.mean((ranges[:, k] / whole[k]) ** 2))) * whole[k]
        if 0 < within < 1e-6 * whole[k]:
            source.warn(
                f"{label[k]} varies by {within:.3g} within a {series} and by {whole[k]:.3g} between them: float32, in "
                "which models are trained, keeps nothing of the former"
            )
        if spread[k] < FEW_LEVELS * grain * largest[k]:
            source.warn(
                f"{label[k]} varies by {spread[k]:.3g} (standard deviation) about {center[k]:.6g}, where its numbers "
                f"resolve {grain * largest[k]:.1g}: subtract the offset before saving"
            )
        far = outliers(values[:, k])
        where = rows[np.unique(np.searchsorted(starts, np.flatnonzero(far), side="right") - 1)]
        _warn_of_outliers(source, label[k], values[:, k], far, f"{series} {numbered(where)}")
    return Columns(constant, center, spread)


def _warn_of_outliers(
    source: Source,
    label: str,
    values: Float64[np.ndarray, " samples"],
    far: Bool[np.ndarray, " samples"],
    where: str,
) -> None:
    if not far.any():
        return
    largest = values[far][np.abs(values[far]).argmax()]
    source.warn(
        f"{int(far.sum())} of {len(values)} values of {label} lie far from the others and set its scale: standard "
        f"deviation {_std(values):.3g} with them, {_std(values[~far]):.3g} without; the largest is {largest:.6g} "
        f"({where})"
    )


def outliers(values: Float64[np.ndarray, " samples"]) -> Bool[np.ndarray, " samples"]:
    """Return which few values, at most 5 % on each side, set the scale of all; none where no values do.

    They are farther from the middle 90 % than 10 times its width, and the standard deviation with them is more than 3
    times what it is without.
    """
    none = np.zeros(len(values), bool)
    tail = int(np.ceil(TAIL * len(values)))
    if len(values) <= 2 * tail + 1:
        return none
    ordered = np.partition(values, (tail, len(values) - 1 - tail))
    low, high = float(ordered[tail]), float(ordered[-1 - tail])
    margin = FAR * (high - low)
    far: Bool[np.ndarray, " samples"] = (values < low - margin) | (values > high + margin)
    return far if far.any() and _std(values) > SETS_SCALE * _std(values[~far]) else none


def _std(values: Float64[np.ndarray, " samples"]) -> float:
    scale = float(np.ptp(values))
    return scale * float(((values - values.min()) / scale).std()) if scale > 0 else 0.0


def centred(source: Source, what: str, columns: Columns, names: Sequence[str] = ()) -> Float[np.ndarray, " components"]:
    """Return what is to be subtracted from each component in float64, so that float32 holds what varies in it.

    It is 0 but for a component that varies little about a large offset, which is noted as a warning.
    """
    large = ~columns.constant & (np.abs(columns.center) > OFF_CENTRE * columns.spread)
    for k in np.flatnonzero(large):
        named = f" ({names[int(k)]})" if names else ""
        source.warn(
            f"component {k + 1} of {what}{named} is taken relative to {columns.center[k]:.9g}, its mean, about which "
            f"it varies by {columns.spread[k]:.3g}"
        )
    return np.where(large, columns.center, 0.0)


def numbered(indices: Int[np.ndarray, " some"]) -> str:
    """Return the first few of indices from 0, counted from 1, and how many others there are."""
    shown = ", ".join(str(int(index) + 1) for index in indices[:5])
    return f"{shown} and {len(indices) - 5} others" if len(indices) > 5 else shown


def plural(noun: str) -> str:
    """Return the plural of series or trajectory."""
    return noun if noun.endswith("s") else f"{noun[:-1]}ies"
