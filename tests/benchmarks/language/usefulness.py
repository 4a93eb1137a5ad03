"""Which scores tell right answers from wrong ones: `python -m tests.benchmarks.language.usefulness`.

Ours beside those of LM-Polygraph and UQLM that fit a lettered answer, on the same model, items and answers. Temperature
and loss rank are fitted on the fit split; all figures are of the report split.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.calibration.temperature import Temperature
from models.core.device import PRECISIONS
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.language.causal_lm import CausalLM
from models.metrics.bootstrap import Interval, bootstrap_interval
from models.metrics.ranking import auroc
from models.metrics.selective import aurc
from models.uncertainty import SCORES
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.language import RESULTS
from tests.benchmarks.language.baselines import BASELINES, next_token, p_true
from tests.benchmarks.language.comparison import told
from tests.benchmarks.language.loss_rank import trained
from tests.benchmarks.language.parts import Part, part
from tests.benchmarks.language.sets import SETS, Parts, parts
from tests.benchmarks.language.smollm2 import smollm2

RAW, LEARNED = "max_prob, raw", "loss_rank"
DEFAULT = ("sst2", "ag_news", "commonsenseqa")


def our_scores(model: CausalLM, fit: Part, report: Part) -> dict[str, Tensor]:
    fitted, own = fit.answers(model), report.answers(model)
    sizes = Dimensions(own.logits.shape[1], own.require_features().shape[1])
    calibrated = Temperature(sizes).fit(fitted, fit.labels).transform(own)
    scores = {name: kind(sizes).score(calibrated) for name, kind in SCORES.items() if name != LEARNED}
    raw = SCORES["max_prob"](sizes).score(own.with_calibrated(own.logits))
    return {RAW: raw, **scores, LEARNED: trained(fitted, fit.labels).score(own)}


def their_scores(model: CausalLM, chosen: Parts, report: Part, own: ModelOutputs) -> dict[str, Tensor]:
    read, places = next_token(model, report), own.log_probabilities().argmax(dim=1).tolist()
    answers = [item.choices[place] for item, place in zip(chosen.report.items, places, strict=True)]
    found = {name: score(read) for name, score in BASELINES.items()}
    return found | p_true(model, chosen.report.items, answers)


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
    own = report.answers(model)
    wrong = own.log_probabilities().argmax(dim=1) != report.labels
    ours, theirs = our_scores(model, fit, report), their_scores(model, chosen, report, own)
    about = f"{len(wrong)} questions, accuracy {1 - float(wrong.double().mean()):.3f}; {len(fit.labels)} to fit on;"
    return score_table(name, ours | theirs, wrong), words(name, ours, theirs, wrong), f"{about} {chosen.about}"


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
