"""A version like another but for its loss-rank head: references in every precision, a record and the gate's verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from models.backbones.prepared import PreparedNetwork
from models.core.checkpoint import Version
from models.core.method import Calibrator
from models.training.build import Part, reference_of, with_head
from models.training.head_curve import CurvePoint
from models.training.loss_rank_gate import LossRankGate
from models.training.loss_rank_report import judged_rows, loss_rank_record
from models.training.rescored import Rescored, rescore, served, with_score
from models.uncertainty.loss_rank import LossRank

NAME = LossRank.name


@dataclass(frozen=True, slots=True)
class HeadOrigin:
    """Where a head comes from: `data` names what it was trained on, `held_out` counts the rows it was stopped by."""

    data: Mapping[str, Any]
    views: int | None  # of each image; None where the rows are prompts
    held_out: int
    seed: int
    best: CurvePoint | None
    curve: tuple[CurvePoint, ...] = ()
    base: int | None = None  # the version that a job started from

    def to_dict(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in ("views", "held_out", "seed", "base")},
            "data": dict(self.data),
            "best": None if self.best is None else asdict(self.best),
            "curve": [asdict(point) for point in self.curve],
        }


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of one precision."""

    rescored: Rescored
    record: dict[str, Any]


def judge_head(
    version: Version,
    network: PreparedNetwork,
    calibrator: Calibrator | None,
    head: LossRank,
    fitting: Part,
    judging: Part,
    seed: int,
) -> Judged:
    """References of `fitting` rows, figures of `judging` rows, which the head was not trained on."""
    outputs = served(calibrator, with_head(network, fitting.found.outputs))
    rescored = rescore(version, network, calibrator, outputs, NAME, reference_of(head, outputs))
    before = rescored.before.get(NAME)
    serving = None if before is None else before.score
    assert serving is None or isinstance(serving, LossRank)
    judged = served(calibrator, with_head(network, judging.found.outputs))
    found = judged_rows(judged, judging.found.labels, head, serving)
    return Judged(rescored, loss_rank_record(found, network.precision, seed))


def with_loss_rank(
    base: Version, head: LossRank, judged: Mapping[str, Judged], gate: LossRankGate, origin: HeadOrigin, note: str
) -> Version:
    """The new version; `judged` by precision, `note` says what the figures are of."""
    report = head_report(head, [each.record for each in judged.values()], gate, origin, note)
    rescored = {precision: each.rescored for precision, each in judged.items()}
    # A base without scores has no plan, but its first epistemic score may have been fitted by one.
    gradients = next(iter(rescored.values())).network.gradients
    return with_score(base, NAME, None if gradients is None else gradients.plan, rescored, report)


def head_report(
    head: LossRank, records: Sequence[Mapping[str, Any]], gate: LossRankGate, origin: HeadOrigin, note: str
) -> dict[str, Any]:
    """What a version's report says of its head; `records` are those of each precision."""
    sizes = {"width": head.width, "depth": head.depth}
    return origin.to_dict() | sizes | {"note": note, "precisions": list(records), "gate": gate.judge(records)}
