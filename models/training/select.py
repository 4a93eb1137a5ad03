"""Which calibrator suits these rows: cross-validated NLL of each, and the simplest among those that do equally well."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from models.calibration import CALIBRATORS, calibrator
from models.core.errors import ModelSideError
from models.core.method import Calibrator, Dimensions
from models.core.outputs import ModelOutputs
from models.metrics.proper import row_losses

RAW, PLAINEST = "none", "temperature"

# (N,) bool, the rows to judge on → their log-probabilities (M, C), of a calibrator that was fitted on the other rows.
HeldOut = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Compared:
    """One candidate on rows that it was not fitted on; NLL in nats, lower is better.

    `behind` is its mean distance to the best candidate of the table, 0 for that one; `behind_error` the standard error
    of that distance over rows, taken row by row.
    """

    name: str
    nll: float
    standard_error: float  # of `nll`, over rows
    behind: float
    behind_error: float


@dataclass(frozen=True, slots=True)
class Selection:
    """The choice and what it rests on. `table` has "none", the network as it is, first; it is never chosen."""

    chosen: str
    table: tuple[Compared, ...]
    skipped: Mapping[str, str]  # candidate → why
    reason: str


def select_calibrator(
    outputs: ModelOutputs, labels: Tensor, *, seed: int, folds: int = 5, candidates: Iterable[str] | None = None
) -> Selection:
    """Every calibrator of the registry, or those named, `compared`; `labels` (N,) int64.

    Simpler is what stands earlier in the registry. Raises UnknownNameError for an unknown candidate, and as `compared`.
    """
    held_out = {name: partial(_fitted_on_others, calibrator(name), outputs, labels) for name in _ordered(candidates)}
    return compared(outputs, labels, held_out, seed=seed, folds=folds)


def compared(
    outputs: ModelOutputs, labels: Tensor, candidates: Mapping[str, HeldOut], *, seed: int, folds: int = 5
) -> Selection:
    """Fit every candidate, the simplest first, on all folds but one, and judge it on that one.

    Temperature is among the candidates. The least mean NLL wins, but for a simpler one whose distance to it is within
    one standard error. A candidate that lacks an output or cannot be fitted is skipped. Raises ValueError for fewer
    rows than folds and where temperature cannot be fitted.
    """
    if not 2 <= folds <= len(outputs):
        raise ValueError(f"folds must lie in 2..{len(outputs)}, the number of rows, got {folds}")
    fold = torch.randperm(len(outputs), generator=torch.Generator().manual_seed(seed)).to(labels.device) % folds
    losses = {RAW: row_losses(outputs.masked(outputs.logits), labels)}
    skipped = {}
    for name, held_out in candidates.items():
        try:
            losses[name] = _held_out_losses(held_out, labels, fold)
        except (ModelSideError, ValueError) as error:
            if name == PLAINEST:
                raise
            skipped[name] = str(error)
    return _selected(losses, skipped)


def _ordered(candidates: Iterable[str] | None) -> list[str]:
    wanted = set(CALIBRATORS) if candidates is None else {PLAINEST, *candidates}
    for name in wanted:
        calibrator(name)
    return [name for name in CALIBRATORS if name in wanted]


def _fitted_on_others(kind: type[Calibrator], outputs: ModelOutputs, labels: Tensor, rows: Tensor) -> Tensor:
    sizes = Dimensions(outputs.logits.shape[1], 1 if outputs.features is None else outputs.features.shape[1])
    fitted = kind(sizes).fit(outputs.take(~rows), labels[~rows])
    return fitted.transform(outputs.take(rows)).calibrated_log_probabilities()


def _held_out_losses(held_out: HeldOut, labels: Tensor, fold: Tensor) -> Tensor:
    """(N,) float64: the NLL of each row under the calibrator that was fitted without its fold."""
    losses = torch.empty(len(labels), dtype=torch.float64, device=labels.device)
    for number in range(int(fold.max()) + 1):
        rows = fold == number
        losses[rows] = row_losses(held_out(rows), labels[rows])
    return losses


def _selected(losses: Mapping[str, Tensor], skipped: Mapping[str, str]) -> Selection:
    best = min((name for name in losses if name != RAW), key=lambda name: float(losses[name].mean()))
    table = tuple(_compared(name, found, losses[best]) for name, found in losses.items())
    chosen = next(row for row in table if row.name != RAW and row.behind <= row.behind_error)
    return Selection(chosen.name, table, skipped, _reason(chosen, best, table))


def _compared(name: str, losses: Tensor, best: Tensor) -> Compared:
    behind = losses - best
    return Compared(name, float(losses.mean()), _error(losses), float(behind.mean()), _error(behind))


def _error(values: Tensor) -> float:
    return float(values.std()) / math.sqrt(len(values))


def _reason(chosen: Compared, best: str, table: tuple[Compared, ...]) -> str:
    raw = f"{table[0].nll:.4f} without calibration"
    if chosen.name == best:
        return f"{best} has the least cross-validated NLL, {chosen.nll:.4f} against {raw}."
    lowest = next(row.nll for row in table if row.name == best)
    return (
        f"{chosen.name}, NLL {chosen.nll:.4f} against {raw}, is simpler than {best} with {lowest:.4f} and within one"
        f" standard error of it ({chosen.behind:.4f} +- {chosen.behind_error:.4f})."
    )
