"""All ways with the shipped CIFAR-10 network, and MaC-Cal on it with one thing varied at a time, as an experiment."""

from dataclasses import dataclass, replace
from functools import lru_cache

from models.calibration.mac_cal import MacCal
from models.calibration.masked_training import MacCalOptions
from tests.benchmarks.experiments.experiment import Experiment, Findings
from tests.benchmarks.experiments.results import Results
from tests.benchmarks.mac_cal import comparison
from tests.benchmarks.mac_cal.observed import Observed
from tests.benchmarks.mac_cal.settings import DEFAULT, MASKED_INFERENCE, settings, with_masks
from tests.benchmarks.mac_cal.shipped_network import FITTED_ON, fitted_on, shipped_network
from tests.benchmarks.mac_cal.ways import (
    ABOUT,
    BOTH,
    FRESH,
    MAC_CAL,
    TRAINED,
    WAYS,
    Figures,
    Fitted,
    figures,
    logits_of,
)

FEATURES = 256
NAME, PLAIN, UNMASKED = "cifar10-resnet", "default", "trained without masks"
SEEDS = {FRESH: 5, BOTH: 3}  # of the ablations; one of the latter takes half a minute
GAMMAS = {f"gamma: {gamma:g}": replace(DEFAULT, gamma=gamma) for gamma in (0.3, 1.0)}
SETTINGS: dict[str, MacCalOptions] = {PLAIN: DEFAULT, **GAMMAS, **settings(FEATURES)}
MASKED = {f"masks at inference only, q {q:g}": q for q in MASKED_INFERENCE}


@dataclass(frozen=True, slots=True)
class Cell:
    way: str
    setting: str = PLAIN

    @property
    def key(self) -> str:
        return f"{self.way}: {self.setting}"


COMPARED = {way: Cell(way) for way in WAYS}
ABLATED = {way: {setting: Cell(way, setting) for setting in (*SETTINGS, *MASKED)} for way in SEEDS}


def measure(cell: Cell, seed: int) -> dict[str, float]:
    given = _given(seed)
    if cell.setting == PLAIN:
        return figures(given, WAYS[cell.way](given, seed))
    if cell.setting in MASKED:
        method, told = fit(cell.way, UNMASKED, seed)
        return figures(given, Fitted(logits_of(with_masks(method, MASKED[cell.setting], seed)), told))
    method, told = fit(cell.way, cell.setting, seed)
    return figures(given, Fitted(logits_of(method), told))


@lru_cache(maxsize=1)
def fit(way: str, setting: str, seed: int) -> tuple[MacCal, Figures]:
    """Kept, since masks at inference follow the fit that they are put on."""
    return MAC_CAL[way](_given(seed), replace(SETTINGS[setting], seed=seed))


def _given(seed: int) -> Observed:
    return fitted_on(shipped_network(), seed)


def experiment() -> Experiment:
    compared = [(cell, seed) for seed in range(SEEDS[FRESH]) for cell in COMPARED.values()]
    ablated = [
        (cell, seed)
        for way, seeds in SEEDS.items()
        for seed in range(seeds)
        for cell in ABLATED[way].values()
        if cell.setting != PLAIN
    ]
    about = ABOUT | {
        "network": f"{NAME} as shipped: howsure resnet9, trained on 45,000 images; served in bfloat16",
        "rows": f"{FITTED_ON} of the 5,000 training images that it was not trained on, drawn by the seed, are fresh; "
        "measured on cifar10_test_shared.npz, 5,000 images",
        "MaC-Cal": repr(DEFAULT),
        "seeds": f"0..{SEEDS[FRESH] - 1}: fresh rows and masks; ablations on trained rows 0..{SEEDS[BOTH] - 1}; the "
        "network is one, and intervals are over these seeds alone",
    }
    # Fits on the 45,000 trained rows take most of the time: last.
    tasks = sorted([*compared, *ablated], key=lambda task: task[0].way in (TRAINED, BOTH))
    title = "MaC-Cal on the shipped CIFAR-10 network"
    return Experiment("cifar10_resnet", title, tasks, measure, findings, about)


def findings(results: Results) -> Findings:
    networks = {NAME: COMPARED}
    tables = [
        comparison.acceptance(results, networks),
        comparison.measures(results, "All ways: mean [95 % interval] over seeds", COMPARED),
        *(comparison.measures(results, f"{way}, one thing varied at a time", cells) for way, cells in ABLATED.items()),
    ]
    words = [comparison.winners(results, NAME, COMPARED)]
    return Findings([table for table in tables if table.rows], list(comparison.charts(results, networks)), words)
