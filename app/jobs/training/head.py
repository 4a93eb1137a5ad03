"""The loss-rank head of a newly trained version, where the held-out rows are enough to train and judge one."""

from collections.abc import Mapping
from typing import Any

from app.jobs.bench import Bench
from app.jobs.loss_rank import head_on_views, judge_in, origin_of
from models.core.checkpoint import Version
from models.training.build import Part
from models.training.loss_rank_gate import LossRankGate
from models.training.loss_rank_version import NAME, with_loss_rank

# Entropy is hard to beat on rows like the network's own: whether the head does is in the report, and decides nothing.
ANY_ORDER = LossRankGate("spearman", -2.0)


def head_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """`views`, `width`, `depth`, `passes` and `seed`, out of those of a job `train`."""
    return {"seed": params["seed"], **params["loss_rank"]}


def with_head_or_why(
    bench: Bench, version: Version, parts: Mapping[str, tuple[Part, Part]], begin: float, share: float
) -> tuple[Version, str | None]:
    """`version`, which is calibrated, with a head; else as it is, and why. The job's progress goes up by `share`.

    `parts` are the rows to fit and to report on, by precision.
    """
    bench = bench.with_version(version)
    params = head_params(bench.spec.params)
    fitting, judging = parts[version.manifest.precisions[0]]
    try:
        trained = head_on_views(bench, fitting, params, begin, share, loss="loss_rank_loss")
        judged = {precision: judge_in(bench, precision, trained.head, *rows) for precision, rows in parts.items()}
    except ValueError as error:  # too few views to tell one from the other, a head that diverges
        return version, str(error)
    origin = origin_of(trained, fitting, params)
    found = with_loss_rank(version, trained.head, judged, ANY_ORDER, origin, judging.note)
    why = _why_useless(found.manifest.report[NAME])
    return (found, None) if why is None else (version, why)


def _why_useless(report: Mapping[str, Any]) -> str | None:
    """None for a head that may order rows by their loss; else it has collapsed, cannot be judged, or orders wrongly."""
    if not report["gate"]["held"]:
        return "; ".join(report["gate"]["reasons"])
    highest = min(record["scores"][NAME][ANY_ORDER.measure]["high"] for record in report["precisions"])
    if highest > 0:
        return None
    return f"the head orders rows against their loss, Spearman's correlation is below {highest:.2f}: hold more rows out"
