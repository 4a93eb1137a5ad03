"""Which scores tell right answers from wrong ones: `python -m tests.benchmarks.language.usefulness`.

Ours beside those of LM-Polygraph and UQLM that fit a lettered answer, on the same model, items and answers. Temperature
and loss rank are fitted on the fit split, the head as a job trains it; all figures are of the report split.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from app.jobs.loss_rank import HELD_OUT
from models.core.device import PRECISIONS
from models.core.method import Dimensions
from models.language.causal_lm import CausalLM
from models.language.layer_study_comparison import fitted_temperature
from models.language.layer_study_part import ReadPart
from models.metrics.bootstrap import Interval, bootstrap_interval
from models.metrics.ranking import auroc
from models.metrics.selective import aurc
from models.training.loss_rank_head import TrainedHead
from models.uncertainty import SCORES
from models.uncertainty.loss_rank import LossRank
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.language import RESULTS
from tests.benchmarks.language.baselines import BASELINES, next_token, p_true
from tests.benchmarks.language.comparison import told
from tests.benchmarks.language.loss_rank import PARAMS, PLAN, trained
from tests.benchmarks.language.parts import part
from tests.benchmarks.language.sets import SETS, Parts, parts
from tests.benchmarks.language.smollm2 import smollm2

RAW, LEARNED = "max_prob, raw", "loss_rank"
DEFAULT = ("sst2", "ag_news", "commonsenseqa")


def our_scores(fit: ReadPart, report: ReadPart, head: LossRank) -> dict[str, Tensor]:
    own = report.answers()
    sizes = Dimensions(own.logits.shape[1], own.require_features().shape[1])
    calibrated = fitted_temperature(fit.answers(), fit.labels).transform(own)
    scores = {name: kind(sizes).score(calibrated) for name, kind in SCORES.items() if name != LEARNED}
    raw = SCORES["max_prob"](sizes).score(own.with_calibrated(own.logits))
    return {RAW: raw, **scores, LEARNED: head.score(own)}


def their_scores(chosen: Parts, report: ReadPart) -> dict[str, Tensor]:
    read, places = next_token(report), report.answers().log_probabilities().argmax(dim=1).tolist()
    answers = [item.choices[place] for item, place in zip(chosen.report.items, places, strict=True)]
    found = {name: score(read) for name, score in BASELINES.items()}
    return found | p_true(report.model, chosen.report.items, answers)


def score_table(name: str, scores: Mapping[str, Tensor], wrong: Tensor) -> Table:
    rows = {}
    for label, score in scores.items():
        area = bootstrap_interval(aurc, score, wrong)
        more = None if label == RAW else told(difference(scores[label], scores[RAW], wrong), "+.3f")
        rows[label] = [told(bootstrap_interval(auroc, score, wrong)), more, told(area)]
    rows["right answers first, no score can do better"] = [None, None, f"{aurc(wrong.double(), wrong):.3f}"]
    rows["by chance"] = ["0.500", None, f"{float(wrong.double().mean()):.3f}"]
    columns = ["AUROC of right against wrong (95 %)", f"more than {RAW} (95 %)", "AURC, lower is better (95 %)"]
    return Table(name, "score", columns, rows)


def difference(one: Tensor, other: Tensor, wrong: Tensor) -> Interval:
    """AUROC of one score less that of another, on the same rows."""
    return bootstrap_interval(
        lambda first, second, missed: auroc(first, missed) - auroc(second, missed), one, other, wrong
    )


def words(name: str, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], wrong: Tensor) -> list[str]:
    unlearnt = {label: score for label, score in ours.items() if label != LEARNED}
    return [f"{name}: {verdict(some, theirs, wrong)}" for some in (unlearnt, {LEARNED: ours[LEARNED]})]


def verdict(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], wrong: Tensor) -> str:
    """The best of ours against the best of theirs."""
    best_of_ours, best_of_theirs = (max(each, key=lambda label: auroc(each[label], wrong)) for each in (ours, theirs))
    gap = difference(ours[best_of_ours], theirs[best_of_theirs], wrong)
    won = "ours is better" if gap.low > 0 else "theirs is better" if gap.high < 0 else "no difference for certain"
    return f"{best_of_ours} against the best of theirs, {best_of_theirs}: AUROC apart by {told(gap, '+.3f')}, {won}."


def of_set(model: CausalLM, name: str) -> tuple[Table, list[str], str]:
    """Table, what it says, and what it is of."""
    chosen = parts(name)
    fit, report = part(model, chosen.fit), part(model, chosen.report)
    wrong = report.answers().log_probabilities().argmax(dim=1) != report.labels
    trained_head = trained(fit)
    ours, theirs = our_scores(fit, report, trained_head.head), their_scores(chosen, report)
    about = (
        f"{len(wrong)} questions, accuracy {1 - float(wrong.double().mean()):.3f}; {len(fit.labels)} to fit on;"
        f" {chosen.about}; {head_words(trained_head)}"
    )
    return score_table(name, ours | theirs, wrong), words(name, ours, theirs, wrong), about


def head_words(trained_head: TrainedHead) -> str:
    if trained_head.best is None:
        return "the head has collapsed"
    best, last = trained_head.best.step, trained_head.curve[-1].step
    return f"the head is that after step {best}, the last check was after step {last}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=DEFAULT)
    parser.add_argument("--precision", choices=list(PRECISIONS), default="bfloat16")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = smollm2(given.precision)
    found = {name: of_set(model, name) for name in given.sets}
    about = {
        "model": "SmolLM2-135M-Instruct, 4-bit weights unpacked",
        "precision": model.precision,
        **{name: each[2] for name, each in found.items()},
        "calibrated": "max_prob and entropy after a temperature: of two choices it cannot change the order by max_prob,"
        " of more it changes it a little",
        "loss_rank": f"as a job trains it to which no parameters are sent: {HELD_OUT:.0%} of the rows to fit on say"
        f" when to stop, the others are read {PARAMS['views']} times in each of {PLAN.passes} passes;"
        f" {PLAN.depth} layers of {PLAN.width}, batches of {PLAN.batch}",
        "labels": "loss_rank has learnt from the fit split's, temperature has one number from them, theirs use none;"
        " which score is best is seen on the same rows, hence a little too good",
    }
    command = f"python -m tests.benchmarks.language.usefulness --sets {' '.join(given.sets)}"
    tables, findings = [each[0] for each in found.values()], [word for each in found.values() for word in each[1]]
    made = Report("usefulness", "Telling right answers from wrong ones", command, about, tables, findings)
    made.write(given.out)
    print(made.markdown())


if __name__ == "__main__":
    main()
