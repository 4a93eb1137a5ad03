"""The ways to calibrate a network that are compared: those of the service, and MaC-Cal with other rows to train on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from models.calibration import CALIBRATORS
from models.calibration.mac_cal import MacCal
from models.calibration.masked_training import LabelledFeatures, MacCalOptions, train
from models.core.method import Calibrator
from models.core.outputs import ModelOutputs
from tests.benchmarks.epistemic.detection import auroc_of
from tests.benchmarks.mac_cal.cross_fit import Logits, doubt, measured
from tests.benchmarks.mac_cal.observed import Labelled, Observed
from tests.benchmarks.mac_cal.settings import DEFAULT, dimensions, unguarded

NONE, TEMPERATURE, VECTOR = "none", "temperature", "vector"
FRESH, TRAINED, BOTH = "MaC-Cal, fresh", "MaC-Cal, trained", "MaC-Cal, both"
ABOUT = {
    "fresh rows": "training images that the network was not trained on. All but two ways are fitted on them",
    FRESH: "as the service fits it",
    TRAINED: "as the paper has it: fitted on the images that the network was trained on, which give the gap too",
    BOTH: "fitted on the images that the network was trained on; fresh rows give the gap and say which epoch stays",
    "masks": "q of the epoch whose weights stay (`kept`, the least NLL of held-out rows), and of the last of 60",
    "guard": "measured without it; `refused` is the share of fits in which it would have kept the network's own head",
}

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Fitted:
    """`figures` tell of the fit itself."""

    logits: Logits
    figures: Figures = field(default_factory=dict)


Way = Callable[[Observed, int], Fitted]  # with a seed
MacCalFit = Callable[[Observed, MacCalOptions], tuple[MacCal, Figures]]


def none(given: Observed, seed: int) -> Fitted:
    return Fitted(lambda outputs: outputs.logits)


def plain(name: str) -> Way:
    def fitted(given: Observed, seed: int) -> Fitted:
        method = CALIBRATORS[name](dimensions(given.fresh.outputs))
        return Fitted(logits_of(method.fit(given.fresh.outputs, given.fresh.labels)))

    return fitted


def mac_cal(fit: MacCalFit) -> Way:
    def fitted(given: Observed, seed: int) -> Fitted:
        method, told = fit(given, replace(DEFAULT, seed=seed))
        return Fitted(logits_of(method), told)

    return fitted


def fresh(given: Observed, options: MacCalOptions) -> tuple[MacCal, Figures]:
    return _as_the_service(given.fresh, options)


def trained(given: Observed, options: MacCalOptions) -> tuple[MacCal, Figures]:
    return _as_the_service(given.trained, replace(options, gap="train"))


def both(given: Observed, options: MacCalOptions) -> tuple[MacCal, Figures]:
    method = MacCal(dimensions(given.trained.outputs))
    scale = given.trained.outputs.require_features().square().mean().sqrt()
    fitting, held_out = (
        LabelledFeatures(rows.outputs.require_features() / scale, rows.labels) for rows in (given.trained, given.fresh)
    )
    found = train(fitting, held_out, method.dimensions, options)
    return unguarded(method, {"scale": scale, **found.weights}), _masks([epoch.q for epoch in found.epochs], found.best)


MAC_CAL: dict[str, MacCalFit] = {FRESH: fresh, TRAINED: trained, BOTH: both}
WAYS: dict[str, Way] = {
    NONE: none,
    **{name: plain(name) for name in (TEMPERATURE, VECTOR, "feature_clipping")},
    **{name: mac_cal(fit) for name, fit in MAC_CAL.items()},
}


def figures(given: Observed, fitted: Fitted) -> dict[str, float]:
    """On the judged rows; AUROC of 1 - max probability, images of other sets being positive."""
    logits = fitted.logits(given.judged.outputs)
    aurocs = {
        f"AUROC {name}": auroc_of(doubt(logits), doubt(fitted.logits(outputs)))
        for name, outputs in given.outside.items()
    }
    confidence = 1 - float(doubt(logits).mean())
    return {**measured(logits, given.judged.labels), "confidence": confidence, **aurocs, **fitted.figures}


def logits_of(method: Calibrator) -> Logits:
    def logits(outputs: ModelOutputs) -> Tensor:
        found = method.transform(outputs).calibrated
        assert found is not None
        return found

    return logits


def _as_the_service(rows: Labelled, options: MacCalOptions) -> tuple[MacCal, Figures]:
    method = MacCal(dimensions(rows.outputs)).fit(rows.outputs, rows.labels, options=options)
    told = _masks([epoch["q"] for epoch in method.record["epochs"]], method.record["kept"])
    return unguarded(method, method.state()), told | {"refused": float(not method.record["guard"]["held"])}


def _masks(shares: Sequence[float], kept: int) -> dict[str, float]:
    return {"kept epoch": kept + 1, "kept q": shares[kept], "last q": shares[-1]}
