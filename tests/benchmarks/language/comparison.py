"""The ways of a layer study beside the other calibrators of logits, as tables and words."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.calibration import CALIBRATORS
from models.core.method import Calibrator, Dimensions
from models.core.outputs import Needs
from models.language.layer_study_comparison import (
    NOTHING,
    RANDOM,
    TEMPERATURE,
    Judged,
    comparison,
    gains,
)
from models.language.layer_study_part import ReadPart
from models.metrics.bootstrap import Interval, bootstrap_interval
from tests.benchmarks.epistemic.tables import Table
from tests.benchmarks.language.mmlu import SEED

AIM = 0.05  # of ECE, served, on MMLU
CONTROLS = ("opposite", "ablated", RANDOM)
FIGURES = ("ece", "mce", "accuracy", "confidence")
OTHERS = {name: kind for name, kind in CALIBRATORS.items() if kind.needs is Needs.LOGITS and name != TEMPERATURE}


def with_other_calibrators(
    judged: Mapping[str, list[Judged]], fit: ReadPart, report: ReadPart
) -> dict[str, list[Judged]]:
    """The ways of a study, and after the first two each of OTHERS, fitted on the one part and judged on the other."""
    first = {way: judged[way] for way in (NOTHING, TEMPERATURE)}
    return first | {name: [_fitted(kind, fit, report)] for name, kind in OTHERS.items()} | dict(judged)


def _fitted(kind: type[Calibrator], fit: ReadPart, report: ReadPart) -> Judged:
    known, asked = fit.answers(), report.answers()
    method = kind(Dimensions(known.logits.shape[1], known.require_features().shape[1])).fit(known, fit.labels)
    return Judged.of(method.transform(asked).calibrated_log_probabilities(), report.labels)


def comparison_table(judged: Mapping[str, Sequence[Judged]]) -> Table:
    (before,) = judged[NOTHING]
    rows = {}
    for way, found in comparison(judged, SEED).items():
        if way == RANDOM:
            rows[f"random ({found['directions']} directions)"] = _spread_row(found)
        else:
            rows[way] = _row(found, change_of_accuracy(before, judged[way][0]))
    columns = ["ECE (95 %)", "MCE", "accuracy", "confidence", "change of accuracy (95 %)"]
    return Table("Calibrators, direction and controls on the report split", "way", columns, rows)


def _row(found: Mapping[str, Any], change: Interval) -> list[str]:
    ece, *others = (found[name] for name in FIGURES)
    return [told(Interval(**ece)), *(f"{each:.3f}" for each in others), told(change, "+.3f")]


def _spread_row(found: Mapping[str, Any]) -> list[str | None]:
    spreads = [found[name] for name in FIGURES]
    return [*(f"{each['mean']:.3f} ({each['lowest']:.3f} to {each['highest']:.3f} of them)" for each in spreads), None]


def change_of_accuracy(before: Judged, after: Judged) -> Interval:
    """On the same rows."""
    change = after.correct.double() - before.correct.double()
    return bootstrap_interval(lambda each: float(each.mean()), change, seed=SEED)


def gain_words(judged: Mapping[str, Sequence[Judged]]) -> str:
    said = []
    for gain in gains(judged, SEED):
        interval = Interval(**{name: gain[name] for name in ("value", "low", "high", "level")})
        word = "lower" if interval.low > 0 else "higher" if interval.high < 0 else "no different for certain"
        said.append(f"{gain['of']} against {gain['against']}, ECE lower by {told(interval, '+.3f')}: {word}")
    return f"On the same rows: {'; '.join(said)}."


def aim_words(judged: Mapping[str, Sequence[Judged]]) -> str:
    eces = {way: found[0].figures()["ece"] for way, found in judged.items() if way not in CONTROLS}
    each = ", ".join(f"{way} {ece:.3f} ({'met' if ece <= AIM else 'not met'})" for way, ece in eces.items())
    return f"Aim of ECE at most {AIM}: {each}."


def told(interval: Interval, form: str = ".3f") -> str:
    value, low, high = (format(each, form) for each in (interval.value, interval.low, interval.high))
    return f"{value} ({low} to {high})"
