"""Generated haloes: NFW haloes of Sobol-sampled simulations with gas that feedback moves outwards; NumPy, float64.

Concentrations are by Diemer and Joyce 2019 (ApJ 871, 168), as colossus (Diemer 2018, ApJS 239, 35) has them. The gas
is a generalised NFW profile (Nagai et al. 2007, ApJ 668, 1), whose amount, core and slopes follow the feedback.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from trainables._shared.datasets import DatasetStore
from trainables._shared.extras import require
from trainables.halo_emulator.config import NUM_PARAMETERS, Config

VERSION = 2


class Range(NamedTuple):
    """Where a parameter of the simulations lies, and whether its logarithm is uniform there."""

    low: float
    high: float
    in_log: bool = False


PARAMETERS: Mapping[str, Range] = {
    "Omega0": Range(0.1, 0.5),
    "sigma8": Range(0.6, 1.0),
    "WindEnergyIn1e51erg": Range(0.9, 14.4, True),
    "RadioFeedbackFactor": Range(0.25, 4.0, True),
    "VariableWindVelFactor": Range(3.7, 14.8, True),
    "RadioFeedbackReiorientationFactor": Range(10.0, 40.0, True),
    "OmegaBaryon": Range(0.029, 0.069),
    "HubbleParam": Range(0.4711, 0.8711),
    "n_s": Range(0.7624, 1.1624),
    "MaxSfrTimescale": Range(1.135, 4.54, True),
    "FactorForSofterEQS": Range(0.1, 0.9, True),
    "IMFslope": Range(-2.8, -1.8),
    "SNII_MinMass_Msun": Range(4.0, 12.0),
    "ThermalWindFraction": Range(0.025, 0.4, True),
    "VariableWindSpecMomentum": Range(0.0, 4000.0),
    "WindFreeTravelDensFac": Range(0.005, 0.5, True),
    "MinWindVel": Range(150.0, 550.0),
    "WindEnergyReductionFactor": Range(0.0625, 1.0, True),
    "WindEnergyReductionMetallicity": Range(0.0005, 0.008, True),
    "WindEnergyReductionExponent": Range(1.0, 3.0),
    "WindDumpFactor": Range(0.2, 1.0),
    "SeedBlackHoleMass": Range(2.5316e-5, 2.528e-4, True),
    "BlackHoleAccretionFactor": Range(0.25, 4.0, True),
    "BlackHoleEddingtonFactor": Range(0.1, 10.0, True),
    "BlackHoleFeedbackFactor": Range(0.025, 0.4, True),
    "BlackHoleRadiativeEfficiency": Range(0.05, 0.8, True),
    "QuasarThreshold": Range(6.33e-5, 0.0632, True),
    "QuasarThresholdPower": Range(0.0, 4.0),
    "UVBH0beta": Range(0.4642, 10.0, True),
    "UVBH0Deltaz": Range(-5.0, 0.0),
    "UVBHepbeta": Range(0.25, 4.0, True),
    "UVBHepDeltaz": Range(-1.0, 0.0),
    "SNIa_Rate_Norm": Range(0.00085, 0.00175),
    "SNIa_Rate_DTD_power": Range(0.88, 1.36),
    "SofteningComovingType01": Range(1.0, 4.0, True),
}
"""The parameters of the 35-parameter set of CAMELS-IllustrisTNG (SB35), in its order, with the published ranges of
docs/params/IllustrisTNG/Info_IllustrisTNG_L50n512_35params.csv at github.com/franciscovillaescusa/CAMELS. Ni et al.
2023 (ApJ 959, 136) describe the first 28, Genel et al. 2026 (arXiv 2606.10038) all of them. Names are those of the
published simulations' own files, slip of the pen included."""
SUPERNOVAE: Mapping[str, float] = {
    "WindEnergyIn1e51erg": 0.8, "VariableWindVelFactor": 0.6, "ThermalWindFraction": 0.3, "IMFslope": 0.4,
    "WindEnergyReductionFactor": 0.3, "WindFreeTravelDensFac": -0.2, "SNII_MinMass_Msun": -0.2,
}  # fmt: skip
"""How much each parameter strengthens the feedback of supernovae, per half of its range."""
BLACK_HOLES: Mapping[str, float] = {
    "RadioFeedbackFactor": 0.6, "RadioFeedbackReiorientationFactor": 0.3, "BlackHoleFeedbackFactor": 0.7,
    "BlackHoleRadiativeEfficiency": -0.5, "QuasarThreshold": 0.6, "QuasarThresholdPower": 0.4,
    "SeedBlackHoleMass": 0.2,
}  # fmt: skip
"""Likewise that of black holes."""
SIMULATION_SPREAD = 0.3
"""Standard deviation of both strengths from simulation to simulation that no parameter says; power spectra show it."""

BLOCK = 16
"""Simulations whose concentrations are computed and kept together."""
LOG_MASSES = (13.0, 15.0)
"""log10 of the least and the largest mass, in solar masses."""
MASS_SLOPE = 0.9
"""There are 10^-0.9 as many haloes per decade of mass from one decade to the next."""
TABLE = np.linspace(12.9, 15.1, 12)
"""log10 of the masses at which concentrations are computed; between them a spline of log c is off by less than 1e-3."""
RADII = (0.05, 2.0)
"""Innermost and outermost radius of a profile, in R200c."""
OVERDENSITY = 200.0
SHAPE_SHARE = 0.4
"""Share of the scatter's variance that is of a profile's shape; the rest is of its amplitude."""


class Design(NamedTuple):
    """Simulations: their parameters, and how strong their feedback is."""

    params: Float64[np.ndarray, "n 35"]
    supernovae: Float64[np.ndarray, " n"]
    black_holes: Float64[np.ndarray, " n"]


def _stream(config: Config, split: str) -> list[int]:
    """Return the seed of a split's random numbers; held-out simulations are the same whatever is trained on."""
    seed = config.data_seed if split == "train" else 0
    digest = hashlib.sha256(f"halo_emulator {split} {seed}".encode()).digest()
    return np.frombuffer(digest[:16], np.uint32).tolist()


def design(config: Config, split: str, num: int) -> Design:
    """Return the first simulations of a split's scrambled Sobol sequence: more simulations begin with the same ones."""
    from scipy.stats import qmc  # scipy.stats takes half a second to import, and cached data need none of it

    rng = np.random.default_rng(_stream(config, split))
    whole = 2 ** max(4, int(np.ceil(np.log2(num))))  # Sobol points are balanced in powers of 2
    unit = qmc.Sobol(NUM_PARAMETERS, scramble=True, rng=rng).random(whole)[:num]
    ranges = list(PARAMETERS.values())
    params = np.empty_like(unit)
    for k, (low, high, in_log) in enumerate(ranges):
        params[:, k] = low * (high / low) ** unit[:, k] if in_log else low + (high - low) * unit[:, k]
    side, names = 2 * unit - 1, list(PARAMETERS)
    spread = SIMULATION_SPREAD * np.random.default_rng([*_stream(config, split), 1]).standard_normal((whole, 2))[:num]
    strengths = [
        sum(weight * side[:, names.index(name)] for name, weight in weights.items()) + spread[:, k]
        for k, weights in enumerate((SUPERNOVAE, BLACK_HOLES))
    ]
    return Design(params, *strengths)


def concentrations(config: Config, split: str, params: Float64[np.ndarray, "n 35"], store: DatasetStore) -> np.ndarray:
    """Return ln c200c of each simulation at the masses of TABLE; computed in blocks, each once on a node."""
    blocks = []
    for start in range(0, len(params), BLOCK):
        # A block that has fewer is another one: the simulations of a whole one would have to be drawn for it.
        rows = params[start : start + BLOCK]
        recipe = json.dumps([VERSION, _stream(config, split), start, len(rows)])
        built = store.get(f"halo_concentrations_{split}", recipe, lambda rows=rows: {"ln_c": _concentrations(rows)})
        blocks.append(built["ln_c"])
    return np.concatenate(blocks)


def _concentrations(params: Float64[np.ndarray, "n 35"]) -> np.ndarray:
    require("colossus")
    # No `require` of the modules: each is of colossus, which is there. Nothing is kept in the user's home.
    from colossus.cosmology import cosmology
    from colossus.halo import concentration

    names = list(PARAMETERS)
    before, found = cosmology.current_cosmo, np.empty((len(params), len(TABLE)))
    try:
        for index, row in enumerate(params):
            value = dict(zip(names, row.tolist(), strict=True))
            cosmology.setCurrent(
                cosmology.Cosmology(
                    name=f"simulation {index}", flat=True, persistence="", H0=100 * value["HubbleParam"],
                    Om0=value["Omega0"], Ob0=value["OmegaBaryon"], sigma8=value["sigma8"], ns=value["n_s"],
                )
            )  # fmt: skip
            masses = 10.0**TABLE * value["HubbleParam"]  # colossus counts in solar masses / h
            # The model of Diemer and Kravtsov with the parameters of Diemer and Joyce 2019. Colossus's own of 2019
            # would keep pickled tables in the user's home.
            found[index] = np.log(concentration.modelDiemer15fromM(masses, 0.0))
    finally:
        cosmology.current_cosmo = before
    return found


def generate(config: Config, split: str, num: int, store: DatasetStore) -> dict[str, np.ndarray]:
    """Return `params`, `log_mass`, `ratios`, `profile` and `sim` of a split's haloes, in float32 (sim: int32)."""
    from scipy.interpolate import CubicSpline

    made = design(config, split, num)
    ln_c = concentrations(config, split, made.params, store)
    per = config.haloes_per_simulation
    sim = np.repeat(np.arange(num), per)
    log_mass, draws = np.empty(num * per), np.empty((num * per, 3))
    halo_ln_c = np.empty(num * per)
    for index in range(num):
        rng = np.random.default_rng([*_stream(config, split), 2, index])
        rows = slice(index * per, (index + 1) * per)
        log_mass[rows] = draw_log_masses(rng.random(per))
        draws[rows] = rng.standard_normal((per, 3))
        halo_ln_c[rows] = CubicSpline(TABLE, ln_c[index])(log_mass[rows])
    names = list(PARAMETERS)
    matter, baryons = (made.params[sim, names.index(name)] for name in ("Omega0", "OmegaBaryon"))
    x = radii(config.num_bins)
    profile = mean_profiles(
        config.quantity, x, log_mass, np.exp(halo_ln_c), baryons / matter, made.supernovae[sim], made.black_holes[sim]
    )
    profile = profile * 10 ** scatter_dex(config.scatter, x, log_mass, draws)
    share = made.params[:, names.index("OmegaBaryon")] / made.params[:, names.index("Omega0")]
    ratios = power_spectrum_ratios(config.num_ratios, share, made.supernovae, made.black_holes)
    arrays = {"params": made.params[sim], "log_mass": log_mass, "ratios": ratios[sim], "profile": profile}
    return {**{name: array.astype(np.float32) for name, array in arrays.items()}, "sim": sim.astype(np.int32)}


def radii(num_bins: int) -> Float64[np.ndarray, " bins"]:
    """Return the radii of the bins, in R200c."""
    return np.geomspace(*RADII, num_bins)


def draw_log_masses(u: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Return log10 masses of uniform numbers, by the inverse of their cumulative distribution."""
    low, high = LOG_MASSES
    span = 1 - 10 ** (-MASS_SLOPE * (high - low))
    return low - np.log10(1 - span * u) / MASS_SLOPE


def retained(log_mass: np.ndarray, supernovae: np.ndarray, black_holes: np.ndarray) -> np.ndarray:
    """Return the share of the cosmic baryon fraction that is gas within R200c: 0.1 to 0.95.

    Haloes below an ejection mass have lost most of it; the two kinds of feedback strengthen each other.
    """
    log_ejection = 13.7 + 0.35 * black_holes + 0.2 * supernovae + 0.2 * black_holes * supernovae
    return 0.1 + 0.85 / (1 + 10 ** (1.5 * (log_ejection - log_mass)))


def mean_profiles(
    quantity: str,
    x: Float64[np.ndarray, " bins"],
    log_mass: Float64[np.ndarray, " n"],
    concentration: Float64[np.ndarray, " n"],
    baryon_share: Float64[np.ndarray, " n"],
    supernovae: Float64[np.ndarray, " n"],
    black_holes: Float64[np.ndarray, " n"],
) -> Float64[np.ndarray, "n bins"]:
    """Return the density at radii x R200c over the critical density, of gas or of all matter, without scatter."""
    kept = retained(log_mass, supernovae, black_holes)
    core = (1 + np.exp(0.6 * black_holes)) / concentration
    inner = 0.6 - 0.4 * np.tanh(0.7 * black_holes)
    outer = 2.5 + 0.9 * kept + 0.15 * np.tanh(supernovae)
    shape = _gnfw(x, core, inner, outer)
    nodes, weights = np.polynomial.legendre.leggauss(48)
    u = (nodes + 1) / 2
    # In u = x^(1/2) the integrand is smooth at 0.
    mass = (3 * u**5 * _gnfw(u**2, core, inner, outer)) @ weights
    gas = OVERDENSITY * (kept * baryon_share / mass)[:, None] * shape
    if quantity == "gas":
        return gas
    c = concentration[:, None]
    dark = OVERDENSITY / 3 * c**3 / (np.log1p(c) - c / (1 + c)) / (c * x * (1 + c * x) ** 2)
    return gas + (1 - baryon_share)[:, None] * dark


def _gnfw(x: np.ndarray, core: np.ndarray, inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """Return (x / core)^-inner (1 + x / core)^(inner - outer), haloes first."""
    s = x / core[:, None]
    return s ** -inner[:, None] * (1 + s) ** (inner - outer)[:, None]


def scatter_sigma(scatter: float, log_mass: np.ndarray) -> np.ndarray:
    """Return the standard deviation of log10 profiles from halo to halo: `scatter` at 10^15, twice that at 10^13."""
    low, high = LOG_MASSES
    return scatter * (2 - (log_mass - low) / (high - low))


def scatter_dex(
    scatter: float, x: np.ndarray, log_mass: np.ndarray, draws: Float64[np.ndarray, "n 3"]
) -> Float64[np.ndarray, "n bins"]:
    """Return what scatter adds to log10 profiles: of the same size in each bin, and correlated between bins."""
    phase = np.pi * np.log(x / x[0]) / np.log(x[-1] / x[0])
    shape = np.sqrt(SHAPE_SHARE)
    modes = np.stack([np.full_like(x, np.sqrt(1 - SHAPE_SHARE)), shape * np.cos(phase), shape * np.sin(phase)])
    return scatter_sigma(scatter, log_mass)[:, None] * (draws @ modes)


def power_spectrum_ratios(
    num: int, baryon_share: np.ndarray, supernovae: np.ndarray, black_holes: np.ndarray
) -> Float64[np.ndarray, "n ratios"]:
    """Return P(k) over that of dark matter alone, 1 - A / (1 + (k / k0)^-n), at k from 0.1 to 30 h/Mpc."""
    k = np.geomspace(0.1, 30.0, num)
    amplitude = 0.3 * baryon_share / 0.16 / (1 + np.exp(-black_holes - 0.4 * supernovae))
    k0, n = 10 ** (0.6 - 0.25 * black_holes), 2 + 0.4 * np.tanh(supernovae)
    return 1 - amplitude[:, None] / (1 + (k / k0[:, None]) ** -n[:, None])
